import { signal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { rows, view } from "../app";
import { filterText, selected, sort } from "../choices";
import { count, duration, NEVER, percent, ratio } from "../format";
import type { EngineRow } from "../rows";
import { nextSort, type SortKey, windowOf } from "../table";
import { GRID_FROM, shown, tabled } from "./engines";
import { Grid, RankDetail, Spark, Status } from "./Grid";
import { Place, placeText } from "./Place";
import { Button, Panel, Scroller, set } from "./ui";

const ROW_PX = 32;

/** The first row in sight and the one after the last; beyond either end of the table when that is out of sight. */
const inSight = signal<[number, number]>([0, 8]);

interface Column {
  /** What it is sorted by; nothing for a picture. */
  key?: SortKey;
  label: string;
  /** Left out on a phone. */
  minor?: boolean;
  text?: boolean;
  /** Names the column in styles, where it has no key. */
  name?: string;
  cell: (row: EngineRow) => ComponentChildren;
}

const COLUMNS: readonly Column[] = [
  { key: "index", label: "Rank", cell: (row) => <RankButton rank={row.index} /> },
  { key: "status", label: "Status", text: true, cell: (row) => <Status row={row} /> },
  { key: "waiting", label: "Waiting", cell: (row) => count(row.waiting) },
  { key: "running", label: "Running", cell: (row) => count(row.running) },
  { key: "load", label: "Load against mean", text: true, cell: (row) => <LoadBar row={row} /> },
  { name: "place", label: "Place", minor: true, text: true, cell: (row) => <Place rank={row.index} /> },
  { name: "spark", label: "Last minute", minor: true, text: true, cell: (row) => <Spark rank={row.index} /> },
  { key: "kvCacheUsage", label: "KV cache", minor: true, cell: (row) => <Kv value={row.kvCacheUsage} /> },
  { key: "step", label: "Step", minor: true, cell: (row) => count(row.step) },
  { key: "wave", label: "Wave", minor: true, cell: (row) => count(row.wave) },
  { key: "age", label: "Last report", cell: (row) => <Ago age={row.age} /> },
  {
    key: "restarts",
    label: "Restarts",
    minor: true,
    cell: ({ restarts }) => (restarts === 0 ? "0" : <b>{restarts}</b>),
  },
];

const cellClass = (column: Column) =>
  [column.text ? "text" : "number", column.minor ? "minor" : "", `col-${column.key ?? column.name}`].join(
    " ",
  );

function SortButton({ by, label }: { by: SortKey; label: string }) {
  const { key, descending } = sort.value;
  return (
    <button type="button" onClick={set(sort, nextSort(sort.value, by))}>
      {label}
      <span class="sort-mark" aria-hidden="true">
        {by === key ? (descending ? "▾" : "▴") : ""}
      </span>
    </button>
  );
}

function Head() {
  const { key, descending } = sort.value;
  return (
    <thead>
      <tr>
        {COLUMNS.map((column) => (
          <th
            key={column.label}
            scope="col"
            class={cellClass(column)}
            aria-sort={column.key === key ? (descending ? "descending" : "ascending") : undefined}
          >
            {column.key === undefined ? column.label : <SortButton by={column.key} label={column.label} />}
          </th>
        ))}
      </tr>
    </thead>
  );
}

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

function RankButton({ rank }: { rank: number }) {
  const chosen = selected.value === rank;
  return (
    <button
      type="button"
      class="rank-button"
      aria-pressed={chosen}
      aria-label={`rank ${rank}`}
      title={placeText(rank)}
      onClick={set(selected, chosen ? null : rank)}
    >
      {rank}
    </button>
  );
}

function Row({ row, position }: { row: EngineRow; position: number }) {
  const chosen = selected.value === row.index ? " row-chosen" : "";
  return (
    <tr class={`row-${row.status}${chosen}`} aria-rowindex={position + 2} data-rank={row.index}>
      {COLUMNS.map((column) => {
        const [shown, of] = [column.cell(row), cellClass(column)];
        if (column.key !== "index") return <td class={of}>{shown}</td>;
        return (
          <th scope="row" class={of}>
            {shown}
          </th>
        );
      })}
    </tr>
  );
}

function Spacer({ rows: n }: { rows: number }) {
  if (n <= 0) return null;
  return (
    <tr class="spacer">
      <td style={{ height: `${n * ROW_PX}px` }} />
    </tr>
  );
}

/** Follows the page and the table as they scroll and change size: only rows in sight are kept, and all on paper. */
function useRowsInSight() {
  const body = useRef<HTMLTableSectionElement>(null);
  useEffect(() => {
    let onPaper = false;
    const look = () => {
      if (onPaper) return;
      const frame = body.current?.closest(".table-scroll")?.getBoundingClientRect();
      if (body.current === null || frame === undefined) return;
      const { top } = body.current.getBoundingClientRect();
      const first = Math.floor((Math.max(0, frame.top) - top) / ROW_PX);
      const end = Math.ceil((Math.min(window.innerHeight, frame.bottom) - top) / ROW_PX);
      const [a, b] = inSight.peek();
      if (a !== first || b !== end) inSight.value = [first, end];
    };
    // Scroll events do not bubble, but are captured; what stands above the table may change its height, too.
    const options = { capture: true, passive: true };
    document.addEventListener("scroll", look, options);
    window.addEventListener("resize", look);
    const watch = new ResizeObserver(look);
    watch.observe(document.body);
    const onPrint = ({ type }: Event) => {
      onPaper = type === "beforeprint";
      if (onPaper) inSight.value = [0, Number.POSITIVE_INFINITY];
      else look();
    };
    window.addEventListener("beforeprint", onPrint);
    window.addEventListener("afterprint", onPrint);
    look();
    return () => {
      document.removeEventListener("scroll", look, options);
      window.removeEventListener("resize", look);
      window.removeEventListener("beforeprint", onPrint);
      window.removeEventListener("afterprint", onPrint);
      watch.disconnect();
    };
  }, []);
  return body;
}

/** A rank that was chosen elsewhere (in the grid, an alarm, the address) is brought into sight. */
function useChosenInSight(): void {
  useSignalEffect(() => {
    const rank = selected.value;
    const position = shown.peek().findIndex((row) => row.index === rank);
    const host = document.querySelector(".table-scrolls");
    if (host === null || position < 0) return;
    const top = position * ROW_PX;
    if (top < host.scrollTop || top + 2 * ROW_PX > host.scrollTop + host.clientHeight) {
      host.scrollTop = top - host.clientHeight / 2;
    }
  });
}

function Table() {
  useChosenInSight();
  const body = useRowsInSight();
  const all = shown.value;
  const [from, to] = windowOf(all.length, ...inSight.value);
  return (
    <Scroller
      class={all.length > GRID_FROM ? "table-scroll table-scrolls" : "table-scroll"}
      label="Engines, scrollable"
    >
      <table class="engines" aria-rowcount={all.length + 1}>
        <Head />
        <tbody ref={body}>
          <Spacer rows={from} />
          {all.slice(from, to).map((row, i) => (
            <Row key={row.index} row={row} position={from + i} />
          ))}
          <Spacer rows={all.length - to} />
        </tbody>
      </table>
    </Scroller>
  );
}

function Filter() {
  return (
    <input
      id="engine-filter"
      class="input"
      type="search"
      placeholder="Filter: 8-15, suspect"
      aria-label="Filter engines by rank or status"
      aria-keyshortcuts="/"
      value={filterText.value}
      onInput={(event) => {
        filterText.value = event.currentTarget.value;
      }}
    />
  );
}

function note(): string {
  const all = rows.value;
  const tally = (status: EngineRow["status"]) => all.filter((row) => row.status === status).length;
  const parts = [`${count(all.length)} ${all.length === 1 ? "rank" : "ranks"}`];
  if (shown.value.length !== all.length) parts.push(`${count(shown.value.length)} shown`);
  for (const status of ["gone", "suspect", "quiet"] as const)
    if (tally(status) > 0) parts.push(`${count(tally(status))} ${status}`);
  if (tally("never") > 0) parts.push(`${count(tally("never"))} never reported`);
  return parts.join(" · ");
}

export function EnginePanel() {
  const { snapshot } = view.value;
  if (snapshot === null) return null;
  return (
    <Panel id="engines" title="Engines" note={note()} tools={<Filter />}>
      {rows.value.length > GRID_FROM && <Grid />}
      <RankDetail />
      <Table />
      {shown.value.length === 0 && rows.value.length > 0 && (
        <p class="empty">
          No rank matches “{filterText}”.{" "}
          <Button look="small" onClick={set(filterText, "")}>
            Clear
          </Button>
        </p>
      )}
    </Panel>
  );
}
