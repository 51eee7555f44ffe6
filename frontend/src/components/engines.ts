// What of the engines is shown, and in which order: the grid and the table agree on it.
import { computed } from "@preact/signals";
import { mean, rows } from "../app";
import { filterText, sort } from "../choices";
import { filterRows, sortRows } from "../table";

const kept = computed(() => filterRows(rows.value, filterText.value));

export const shown = computed(() => sortRows(kept.value, sort.value));

/** The ranks that the filter keeps; null when it keeps all. */
export const filteredRanks = computed(() =>
  filterText.value.trim() === "" ? null : new Set(kept.value.map((row) => row.index)),
);

export const maxLoad = computed(() => rows.value.reduce((max, row) => Math.max(max, row.load ?? 0), 0));

/** The load that fills the grid's scale: one rank that has far more must not make all others look the same. */
export const fullLoad = computed(() =>
  Math.max(1, Math.min(maxLoad.value, Math.ceil(Math.max(4, 3 * (mean.value ?? 0))))),
);
