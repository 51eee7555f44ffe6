// What is shown over time, as comma-separated values. Pure but for `save`.
import type { RankHistory } from "./history";
import { imbalance } from "./spread";
import type { Timeline } from "./timeline";

type Cell = string | number | null;

const iso = (at: number) => new Date(at * 1000).toISOString();
const rounded = (value: number | null | undefined) =>
  value === null || value === undefined ? null : Math.round(value * 1e4) / 1e4;

function text(rows: readonly (readonly Cell[])[]): string {
  const cell = (value: Cell) =>
    value === null ? "" : /[",\n]/.test(`${value}`) ? `"${`${value}`.replaceAll('"', '""')}"` : `${value}`;
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

const HEAD = ["time_utc", "unix_s", "state", "wave", "waiting", "running", "engines", "front_ends"];
const SPREAD = ["rank_min", "rank_median", "rank_p95", "rank_max", "imbalance", "kv_max"];

/** Totals and the spread of the ranks between two moments; empty cells where a value was not told. */
export function windowCsv(timeline: Timeline, from: number, to: number): string {
  const rows = timeline
    .moments(from)
    .filter(({ at }) => at >= from && at <= to)
    .map(({ at, word, current_wave, waiting, running, engines_subscribed, front_ends, spread }) => [
      iso(at),
      at,
      word,
      current_wave,
      waiting,
      running,
      engines_subscribed,
      front_ends,
      ...(spread === null
        ? SPREAD.map(() => null)
        : [
            spread.min,
            spread.median,
            spread.p95,
            spread.max,
            rounded(imbalance(spread)),
            rounded(spread.kv),
          ]),
    ]);
  return text([[...HEAD, ...SPREAD], ...rows]);
}

/** One rank, and what stands beside it. */
export function rankCsv({ at, panes }: RankHistory): string {
  const lines = panes.flatMap(({ title, lines }) =>
    lines.map(({ name, values }) => ({ name: `${title}: ${name}`, values })),
  );
  const rows = at
    .map((moment, i) => [iso(moment), moment, ...lines.map(({ values }) => rounded(values[i]))])
    .filter((row) => row.slice(2).some((value) => value !== null));
  return text([["time_utc", "unix_s", ...lines.map(({ name }) => name)], ...rows]);
}

/** Gives the browser a file to keep. */
export function save(name: string, file: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const csvFile = (content: string) => new Blob([content], { type: "text/csv" });
