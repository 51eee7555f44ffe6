// What of the engines is shown, and in which order: the grid and the table agree on it.
import { computed, signal } from "@preact/signals";
import { connected, mean, now, past, rows, view } from "../app";
import { colourBy, filterText, sort } from "../choices";
import type { EngineRow } from "../rows";
import { roundFull } from "../scale";
import { filterRows, namedFirst, sortRows } from "../table";

/** Beyond so many ranks there is a grid beside the table, and the table scrolls by itself. */
export const GRID_FROM = 8;
/** Beyond so many the table is renewed less often: faster, nobody could read its numbers, nor its order. */
const CALM_FROM = 64;
const RENEWED_MS = 500;

export const maxLoad = computed(() => rows.value.reduce((max, row) => Math.max(max, row.load ?? 0), 0));

interface Tabled {
  rows: readonly EngineRow[];
  mean: number | null;
  most: number;
  at: number;
}

let newest: Tabled = { rows: [], mean: null, most: 0, at: 0 };

/** What the table shows, of one moment: of now, or with many ranks of at most half a second ago. */
export const tabled = computed(() => {
  const [list, at] = [rows.value, now.value];
  const calm = connected.value && past.value === null && list.length > CALM_FROM;
  const held = calm && list.length === newest.rows.length && Math.abs(at - newest.at) < RENEWED_MS;
  if (!held) newest = { rows: list, mean: mean.value, most: maxLoad.value, at };
  return newest;
});

const kept = computed(() => filterRows(tabled.value.rows, filterText.value));

/** The ranks that alarms name. */
export const named = computed<ReadonlySet<number>>(
  () => new Set((view.value.snapshot?.alarms ?? []).flatMap(({ engines }) => engines)),
);

/** In the wished order; where that is the ranks' own, those that alarms name come first. */
export const shown = computed(() => {
  const sorted = sortRows(kept.value, sort.value);
  const { key, descending } = sort.value;
  return key === "index" && !descending ? namedFirst(sorted, named.value) : sorted;
});

/** The ranks that the filter keeps; null when it keeps all. */
export const filteredRanks = computed(() =>
  filterText.value.trim() === "" ? null : new Set(kept.value.map((row) => row.index)),
);

/** What would fill the scale for all that the map shows; kept up by the map. */
export const mapFull = signal(0);

/** What fills the scale of counts: one rank that has far more must not make all others look the same. */
export const fullScale = computed(() => {
  const waiting = colourBy.value === "waiting";
  let [most, sum] = [0, 0];
  for (const row of rows.value) {
    const value = (waiting ? row.waiting : row.load) ?? 0;
    most = Math.max(most, value);
    sum += value;
  }
  return roundFull(Math.max(mapFull.value, Math.min(most, (3 * sum) / Math.max(1, rows.value.length))));
});
