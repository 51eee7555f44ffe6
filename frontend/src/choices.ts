// What the viewer chose to see; url.ts keeps it in the address, so that a link shows a colleague the same.
import { signal } from "@preact/signals";
import type { ColourBy } from "./scale";
import type { Series } from "./series";
import type { Sort } from "./table";

export const WINDOWS_MIN = [1, 5, 15, 60] as const;

/** Minutes that the chart shows. */
export const windowMin = signal<number>(5);

/** A part of the chart that was zoomed into: Unix seconds of its left and right edge. */
export const zoom = signal<readonly [number, number] | null>(null);

/** The engine table's filter and order. */
export const filterText = signal("");
export const BY_RANK: Sort = { key: "index", descending: false };
export const sort = signal<Sort>(BY_RANK);

/** What of the event log is shown: see `matches`. */
export const logFilter = signal("");

/** What ranks are coloured by, in the grid and on the map. */
export const colourBy = signal<ColourBy>("requests");

/** What the load chart shows. */
export const series = signal<Series>("sum");

/** The rank that is looked at closely. */
export const selected = signal<number | null>(null);

/** The rank that it is compared with; null: the mean of all. */
export const beside = signal<number | null>(null);
