import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { selected, sort } from "../choices";
import type { EngineRow } from "../rows";
import { nextSort, type SortKey, windowOf } from "../table";
import { cellClass, columns } from "./columns";
import { onTableKey } from "./cursor";
import { GRID_FROM, named, shown } from "./engines";
import { Scroller, set } from "./ui";

/** As in styles/tables.css. */
const ROW_PX = 28;

/** The first row in sight and the one after the last; beyond either end of the table when that is out of sight. */
const inSight = signal<[number, number]>([0, 8]);

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
        {columns.value.map((column) => (
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

function Row({ row, position }: { row: EngineRow; position: number }) {
  const chosen = selected.value === row.index ? " row-chosen" : "";
  const accused = named.value.has(row.index) ? " row-named" : "";
  return (
    <tr class={`row-${row.status}${chosen}${accused}`} aria-rowindex={position + 2} data-rank={row.index}>
      {columns.value.map((column) => {
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

/** Scrolls a table that does so by itself until a position is in sight. */
function reveal(position: number): void {
  const host = document.querySelector(".table-scrolls");
  if (host === null || position < 0) return;
  const top = position * ROW_PX;
  if (top < host.scrollTop || top + 2 * ROW_PX > host.scrollTop + host.clientHeight) {
    host.scrollTop = top - host.clientHeight / 2;
  }
}

/** A rank that was chosen elsewhere (in the grid, an alarm, the address) is brought into sight. */
function useChosenInSight(): void {
  useSignalEffect(() => {
    const rank = selected.value;
    if (rank !== null) reveal(shown.peek().findIndex((row) => row.index === rank));
  });
}

export function EngineTable() {
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
        <tbody ref={body} onKeyDown={(event) => onTableKey(event, reveal)}>
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
