// Keeps the page's address and the viewer's choices the same.
import { batch, effect, signal } from "@preact/signals";
import { backToLive, lookAt, past, serverNow, shownAt } from "./app";
import { beside, colourBy, filterText, logFilter, selected, series, sort, windowMin, zoom } from "./choices";
import { type Choices, readHash, writeHash } from "./url";

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
    logFilter.value = choices.log;
    sort.value = choices.sort;
    colourBy.value = choices.colour;
    series.value = choices.lines;
    selected.value = choices.rank;
    beside.value = choices.beside;
    nonsense.value = left;
    wanted.value = choices.at;
    if (choices.at === null && past.value !== null) backToLive();
  });
}

function chosen(): Choices {
  return {
    windowMin: windowMin.value,
    zoom: zoom.value,
    filter: filterText.value,
    log: logFilter.value,
    sort: sort.value,
    colour: colourBy.value,
    lines: series.value,
    rank: selected.value,
    beside: beside.value,
    at: past.value?.at ?? wanted.value,
  };
}

/** A link to a moment, with all that was chosen. */
export function linkTo(at: number | null): string {
  const base = location.href.replace(/#.*$/, "");
  return base + writeHash({ ...chosen(), at });
}

/** To what is shown now: opened later, it shows the same. */
export const linkToShown = () => linkTo(shownAt.peek());

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
    const hash = writeHash(chosen());
    window.clearTimeout(timer);
    if (hash === location.hash) return;
    timer = window.setTimeout(() => {
      history.replaceState(null, "", hash === "" ? location.pathname + location.search : hash);
    }, SETTLE_MS);
  });
}
