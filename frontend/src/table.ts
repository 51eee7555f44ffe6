// Sorting and filtering of the engine table. Pure.
import type { EngineRow } from "./rows";

export const SORT_KEYS = [
  "index",
  "status",
  "waiting",
  "running",
  "load",
  "kvCacheUsage",
  "step",
  "wave",
  "age",
  "restarts",
] as const;

export type SortKey = (typeof SORT_KEYS)[number];

export interface Sort {
  key: SortKey;
  descending: boolean;
}

/** Worst first, so that one click brings trouble to the top. */
const STATUS_ORDER = {
  gone: 0,
  suspect: 1,
  unknown: 2,
  never: 3,
  joining: 4,
  quiet: 5,
  working: 6,
  idle: 7,
} as const;

const value = (row: EngineRow, key: SortKey): number | null =>
  key === "status" ? STATUS_ORDER[row.status] : row[key];

/** Rows, given by rank, in the wished order; ties by rank; what was never reported comes last either way. */
export function sortRows(rows: readonly EngineRow[], { key, descending }: Sort): EngineRow[] {
  if (key === "index" && !descending) return [...rows];
  return [...rows].sort((a, b) => {
    const x = value(a, key);
    const y = value(b, key);
    if (x === y) return a.index - b.index;
    if (x === null) return 1;
    if (y === null) return -1;
    return descending ? y - x : x - y;
  });
}

/** Those that are named before the others; otherwise as they come. */
export function namedFirst(rows: readonly EngineRow[], named: ReadonlySet<number>): EngineRow[] {
  if (named.size === 0) return [...rows];
  const isNamed = ({ index }: EngineRow) => named.has(index);
  return [...rows.filter(isNamed), ...rows.filter((row) => !isNamed(row))];
}

/** The next order when a column's head is pressed: numbers largest first, rank and status in their own order. */
export function nextSort(sort: Sort, key: SortKey): Sort {
  if (sort.key === key) return { key, descending: !sort.descending };
  return { key, descending: key !== "index" && key !== "status" };
}

/**
 * Rows that a filter keeps: ranks ("3", "8-15"; any of those named) and the beginning of a status ("quiet").
 */
export function filterRows(rows: readonly EngineRow[], text: string): EngineRow[] {
  const words = text
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== "");
  if (words.length === 0) return [...rows];
  const ranges = words.map(rangeOf).filter((range) => range !== null);
  const statuses = words.filter((word) => rangeOf(word) === null);
  return rows.filter(
    (row) =>
      (ranges.length === 0 || ranges.some(([from, to]) => row.index >= from && row.index <= to)) &&
      statuses.every((word) => row.status.startsWith(word)),
  );
}

function rangeOf(word: string): [number, number] | null {
  const match = /^(\d+)(?:[-–](\d+))?$/.exec(word);
  if (match === null) return null;
  const from = Number(match[1]);
  return [from, match[2] === undefined ? from : Number(match[2])];
}

/** Up to here every row is in the page; beyond, only those in sight and a few around. */
const ALL_ROWS = 16;
const OVERSCAN = 3;

/** First and end of the rows to have in the page, of `total`, where those from `first` to before `end` are in sight. */
export function windowOf(total: number, first: number, end: number): [number, number] {
  if (total <= ALL_ROWS) return [0, total];
  const from = Math.min(Math.max(0, first - OVERSCAN), total - OVERSCAN);
  return [from, Math.min(total, Math.max(end, from) + OVERSCAN)];
}
