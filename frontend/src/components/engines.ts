// What of the engines is shown, and in which order: the grid and the table agree on it.
import { computed } from "@preact/signals";
import { connected, mean, now, past, rows } from "../app";
import { filterText, sort } from "../choices";
import type { EngineRow } from "../rows";
import { filterRows, sortRows } from "../table";

/** Beyond so many ranks there is a grid above the table, and the table scrolls by itself. */
export const GRID_FROM = 64;
/** How often such a table is renewed: faster, nobody could read its numbers, nor its order. */
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
  const calm = connected.value && past.value === null && list.length > GRID_FROM;
  const held = calm && list.length === newest.rows.length && Math.abs(at - newest.at) < RENEWED_MS;
  if (!held) newest = { rows: list, mean: mean.value, most: maxLoad.value, at };
  return newest;
});

const kept = computed(() => filterRows(tabled.value.rows, filterText.value));

export const shown = computed(() => sortRows(kept.value, sort.value));

/** The ranks that the filter keeps; null when it keeps all. */
export const filteredRanks = computed(() =>
  filterText.value.trim() === "" ? null : new Set(kept.value.map((row) => row.index)),
);

/** The load that fills the grid's scale: one rank that has far more must not make all others look the same. */
export const fullLoad = computed(() =>
  Math.max(1, Math.min(maxLoad.value, Math.ceil(Math.max(4, 3 * (mean.value ?? 0))))),
);
