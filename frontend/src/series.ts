// What the load chart shows: the sum of all ranks, how they lie apart, how uneven they are, or how full their caches.
import { count } from "./format";
import { imbalance, type Spread } from "./spread";
import type { Moment } from "./timeline";

export const SERIES = ["sum", "ranks", "uneven", "kv"] as const;
export type Series = (typeof SERIES)[number];

export const SERIES_NAMES: Record<Series, string> = {
  sum: "Sum",
  ranks: "Per rank",
  uneven: "Imbalance",
  kv: "KV max",
};

/** Colours by the names of their custom properties. */
export type LineColour = "waiting" | "running" | "text" | "text-muted" | "kv";

export interface Line {
  name: string;
  colour: LineColour;
  /** Told apart without colour, too. */
  dash: readonly number[];
  values: (number | null)[];
}

export interface Lines {
  /** Unix seconds, ascending; a null in all values stands where nothing was seen. */
  at: number[];
  lines: Line[];
  /** Indices of the lines between which is filled. */
  filled: readonly [number, number] | null;
  /** A value as people read it. */
  say: (value: number | null) => string;
}

type Pick = readonly [
  name: string,
  colour: LineColour,
  dash: readonly number[],
  of: (m: Moment) => number | null,
];

const ofSpread = (of: (s: Spread) => number | null) => (m: Moment) =>
  m.spread === null ? null : of(m.spread);

const PICKS: Record<Series, readonly Pick[]> = {
  sum: [
    ["running", "running", [], (m) => m.running],
    ["waiting", "waiting", [6, 3], (m) => m.waiting],
  ],
  ranks: [
    ["max", "waiting", [2, 2], ofSpread((s) => s.max)],
    ["p95", "text-muted", [6, 3], ofSpread((s) => s.p95)],
    ["median", "running", [], ofSpread((s) => s.median)],
    ["min", "text-muted", [2, 2], ofSpread((s) => s.min)],
  ],
  uneven: [
    ["busiest rank against the mean", "running", [], ofSpread((s) => (s.mean > 0 ? imbalance(s) : null))],
  ],
  kv: [["highest KV-cache usage of a rank", "kv", [], ofSpread((s) => (s.kv === null ? null : 100 * s.kv))]],
};

const SAY: Record<Series, (value: number) => string> = {
  sum: count,
  ranks: count,
  uneven: (value) => `${value.toFixed(1)}×`,
  kv: (value) => `${Math.round(value)} %`,
};

/** A line breaks where nothing was told for longer than `gap` seconds: it is not joined over what was not seen. */
export function linesOf(series: Series, moments: readonly Moment[], gap: number): Lines {
  const at: number[] = [];
  const lines: Line[] = PICKS[series].map(([name, colour, dash]) => ({ name, colour, dash, values: [] }));
  let last = Number.POSITIVE_INFINITY;
  // Of moments of which only totals are known the spread is not: it is told by those between which they stand.
  for (const moment of series === "sum" ? moments : moments.filter(({ spread }) => spread !== null)) {
    if (moment.at - last > gap) {
      at.push(last + 0.001);
      for (const line of lines) line.values.push(null);
    }
    at.push(moment.at);
    PICKS[series].forEach(([, , , of], i) => {
      lines[i]?.values.push(of(moment));
    });
    last = moment.at;
  }
  const say = (value: number | null) => (value === null ? "—" : SAY[series](value));
  return { at, lines, filled: series === "ranks" ? [0, 3] : null, say };
}
