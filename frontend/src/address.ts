// Keeps the page's address and the viewer's choices the same.
import { batch, effect, signal } from "@preact/signals";
import { backToLive, lookAt, past, serverNow } from "./app";
import { colourBy, filterText, selected, series, sort, windowMin, zoom } from "./choices";
import { readHash, writeHash } from "./url";

/** Browsers allow few changes of the address per second. */
const SETTLE_MS = 300;

/** Parts of the address that meant nothing. */
export const nonsense = signal<readonly string[]>([]);

/** A moment that the address names, before the server's clock is known. */
const wanted = signal<number | null>(null);

function read(): void {
  const { choices, nonsense: left } = readHash(location.hash);
  batch(() => {
    windowMin.value = choices.windowMin;
    zoom.value = choices.zoom;
    filterText.value = choices.filter;
    sort.value = choices.sort;
    colourBy.value = choices.colour;
    series.value = choices.lines;
    selected.value = choices.rank;
    nonsense.value = left;
    wanted.value = choices.at;
    if (choices.at === null && past.value !== null) backToLive();
  });
}

function written(): string {
  return writeHash({
    windowMin: windowMin.value,
    zoom: zoom.value,
    filter: filterText.value,
    sort: sort.value,
    colour: colourBy.value,
    lines: series.value,
    rank: selected.value,
    at: past.value?.at ?? wanted.value,
  });
}

export function followAddress(): void {
  read();
  window.addEventListener("hashchange", read);
  effect(() => {
    if (wanted.value === null || serverNow.value === null) return;
    const at = wanted.value;
    wanted.value = null;
    lookAt(at);
  });
  let timer = 0;
  effect(() => {
    const hash = written();
    window.clearTimeout(timer);
    if (hash === location.hash) return;
    timer = window.setTimeout(() => {
      history.replaceState(null, "", hash === "" ? location.pathname + location.search : hash);
    }, SETTLE_MS);
  });
}
