// The columns of the ranks' table. Those that say the same of every rank are left out, and come back when ranks differ.
import { computed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { selected } from "../choices";
import { count, duration, NEVER, percent, ratio } from "../format";
import type { EngineRow } from "../rows";
import type { SortKey } from "../table";
import { current } from "./cursor";
import { GRID_FROM, tabled } from "./engines";
import { Spark, Status } from "./Grid";
import { Place, placeText } from "./Place";
import { set } from "./ui";

export interface Column {
  /** What it is sorted by; nothing for a picture. */
  key?: SortKey;
  label: string;
  /** Left out on a phone. */
  minor?: boolean;
  text?: boolean;
  /** Names the column in styles, where it has no key. */
  name?: string;
  /** Only in a table that has the page's width. */
  roomy?: boolean;
  /** Left out while it is the same for every rank. */
  differing?: "kvCacheUsage" | "step" | "wave" | "restarts";
  cell: (row: EngineRow) => ComponentChildren;
}

/** Those that come and go stand last, the most fickle first: they take their room from what stands before them and
 * stretches, and no other column moves. */
const COLUMNS: readonly Column[] = [
  { key: "index", label: "Rank", cell: (row) => <RankButton rank={row.index} /> },
  { key: "status", label: "Status", text: true, cell: (row) => <Status row={row} /> },
  { key: "waiting", label: "Waiting", cell: (row) => count(row.waiting) },
  { key: "running", label: "Running", cell: (row) => count(row.running) },
  { key: "age", label: "Last report", cell: (row) => <Ago age={row.age} /> },
  {
    name: "spark",
    label: "Last minute",
    minor: true,
    text: true,
    roomy: true,
    cell: (row) => <Spark rank={row.index} />,
  },
  { key: "load", label: "Against mean", text: true, cell: (row) => <LoadBar row={row} /> },
  {
    name: "place",
    label: "Place",
    minor: true,
    text: true,
    roomy: true,
    cell: (row) => <Place rank={row.index} />,
  },
  { key: "wave", label: "Wave", minor: true, differing: "wave", cell: (row) => count(row.wave) },
  { key: "step", label: "Step", minor: true, roomy: true, differing: "step", cell: (row) => count(row.step) },
  {
    key: "restarts",
    label: "Restarts",
    minor: true,
    differing: "restarts",
    cell: (row) => <Restarts row={row} />,
  },
  {
    key: "kvCacheUsage",
    label: "KV",
    minor: true,
    differing: "kvCacheUsage",
    cell: (row) => <Kv value={row.kvCacheUsage} />,
  },
];

/** A column that came back stays for so long after ranks were last seen to differ: it is not to come and go. */
const STAYS_MS = 60_000;
const differedAt = new Map<string, number>();

function differs(rows: readonly EngineRow[], key: NonNullable<Column["differing"]>, at: number): boolean {
  // Ranks of which nothing is known yet are no other than the rest.
  const told = rows.filter((row) => row.age !== null && row[key] !== null);
  if (told.some((row) => row[key] !== told[0]?.[key])) differedAt.set(key, at);
  const last = differedAt.get(key);
  return last !== undefined && Math.abs(at - last) < STAYS_MS;
}

const names = computed(() => {
  const { rows, at } = tabled.value;
  const roomy = rows.length <= GRID_FROM;
  const kept = COLUMNS.filter(
    ({ roomy: wide, differing }) =>
      (roomy || !wide) && (differing === undefined || differs(rows, differing, at)),
  );
  return kept.map(({ label }) => label).join();
});

/** The columns to be shown; the same list until that changes. */
export const columns = computed(() => {
  const kept = names.value.split(",");
  return COLUMNS.filter(({ label }) => kept.includes(label));
});

export const cellClass = (column: Column) =>
  [column.text ? "text" : "number", column.minor ? "minor" : "", `col-${column.key ?? column.name}`].join(
    " ",
  );

/** waiting and running of one rank, to the scale of the busiest, with a mark at the mean. */
function LoadBar({ row }: { row: EngineRow }) {
  const { most, mean: average } = tabled.value;
  const scale = Math.max(1, most);
  const part = (n: number | null) => `${(100 * (n ?? 0)) / scale}%`;
  return (
    <span class="load">
      <span class="bar" aria-hidden="true">
        {row.load !== null && (
          <>
            <span class="bar-running" style={{ width: part(row.running) }} />
            <span class="bar-waiting" style={{ width: part(row.waiting) }} />
          </>
        )}
        {average !== null && average > 0 && <span class="bar-mean" style={{ left: part(average) }} />}
      </span>
      <span class="load-ratio">{ratio(row.load, average)}</span>
    </span>
  );
}

function Kv({ value }: { value: number | null }) {
  if (value === null) return <>{NEVER}</>;
  return (
    <span class="kv">
      {percent(value)}
      <span class="kv-bar" aria-hidden="true">
        <span style={{ width: `${Math.min(100, value * 100)}%` }} />
      </span>
    </span>
  );
}

function Ago({ age }: { age: number | null }) {
  if (age === null) return <>{NEVER}</>;
  return (
    <>
      {age < 1 ? "< 1 s" : duration(age)}
      <span class="ago"> ago</span>
    </>
  );
}

/** Restarts are told from the counters of reports: of a rank that never reported nobody knows. */
function Restarts({ row: { restarts, age } }: { row: EngineRow }) {
  if (restarts === 0) return <>{age === null ? NEVER : "0"}</>;
  return <b>{restarts}</b>;
}

function RankButton({ rank }: { rank: number }) {
  const chosen = selected.value === rank;
  return (
    <button
      type="button"
      class="rank-button"
      aria-pressed={chosen}
      aria-label={`rank ${rank}`}
      title={placeText(rank)}
      // One stop of the tab key for the whole table; arrows lead on from there.
      tabIndex={current.value === rank ? 0 : -1}
      onClick={set(selected, chosen ? null : rank)}
    >
      {rank}
    </button>
  );
}
