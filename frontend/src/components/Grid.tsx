import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { connected, mean, rows } from "../app";
import { colourBy, selected } from "../choices";
import { count, duration, NEVER, percent, ratio } from "../format";
import { HeatGrid, rankAt } from "../heat";
import type { EngineRow } from "../rows";
import { SPARK_HEIGHT, SPARK_WIDTH, sparkline } from "../sparks";
import { paletteVersion } from "../theme";
import { filteredRanks, fullScale, named } from "./engines";
import { placeText } from "./Place";
import { Icon, set, useDrawing, useInSight } from "./ui";

const pointed = signal<number | null>(null);

export function Spark({ rank }: { rank: number }) {
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`}
      width={SPARK_WIDTH}
      height={SPARK_HEIGHT}
      aria-hidden="true"
    >
      <path d={sparkline(rank)} />
    </svg>
  );
}

export const STATUS_HELP = {
  never: "No report has arrived from this rank, which is not zero",
  joining: "Connected; READY is sent once all engines are",
  idle: "It has no requests",
  working: "It has requests, and lately news of them",
  quiet: "It has requests and nothing new, which is normal: vLLM reports only when counts change",
  suspect: "An alarm names it",
  gone: "Its connection ended, and what it had is in no total",
  unknown: "The page is not connected: what this rank does now is not known",
} as const;

export function Status({ row }: { row: EngineRow }) {
  return (
    <span class={`status status-${row.status}`} title={STATUS_HELP[row.status]}>
      <Icon name={row.status} />
      {row.status}
    </span>
  );
}

/** What is known of one rank, in a line. */
export function rankWords(row: EngineRow): string {
  return [
    `${count(row.waiting)} waiting`,
    `${count(row.running)} running`,
    `${ratio(row.load, mean.value)} the mean`,
    `KV ${percent(row.kvCacheUsage)}`,
    row.age === null ? "never reported" : `reported ${duration(row.age)} ago`,
  ].join(" · ");
}

/** The rank under the pointer or the one that is chosen. The line is there without one, too: nothing moves. */
export function RankLine() {
  const rank = pointed.value ?? selected.value;
  const row = rank === null ? undefined : rows.value[rank];
  return (
    <p class="rank-line" data-testid="rank-detail">
      {rank === null && (
        <span class="muted">Point at a rank for its numbers, click for all that is known of it</span>
      )}
      {rank !== null && <strong>Rank {rank}</strong>}
      {rank !== null && row === undefined && (
        <span>{rows.value.length === 0 ? NEVER : `There are ranks 0 to ${rows.value.length - 1}.`}</span>
      )}
      {row !== undefined && (
        <>
          <Status row={row} /> <span>{rankWords(row)}</span> <span class="muted">{placeText(row.index)}</span>
        </>
      )}
    </p>
  );
}

function useGrid() {
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const grid = useRef<HeatGrid | null>(null);
  const size = useRef(signal(0));
  const inSight = useInSight(host);

  useEffect(() => {
    if (host.current === null || canvas.current === null) return;
    grid.current = new HeatGrid(canvas.current, host.current);
    const watch = new ResizeObserver(() => {
      grid.current?.measure();
      size.current.value += 1;
    });
    watch.observe(host.current);
    return () => watch.disconnect();
  }, []);

  useDrawing(() => {
    size.current.value;
    if (!inSight.value) return;
    const filtered = filteredRanks.value;
    grid.current?.draw(rows.value, {
      by: colourBy.value,
      full: fullScale.value,
      mean: mean.value ?? 0,
      kept: (rank) => filtered === null || filtered.has(rank),
      marked: [selected.value, pointed.value].filter((rank) => rank !== null),
      named: named.value,
    });
  });

  useDrawing(() => {
    paletteVersion.value;
    connected.value;
    requestAnimationFrame(() => {
      grid.current?.recolour();
      size.current.value += 1;
    });
  });
  return { host, canvas, grid };
}

export function Grid() {
  const { host, canvas, grid } = useGrid();
  const at = (event: MouseEvent) =>
    grid.current === null
      ? null
      : rankAt(grid.current.layout, rows.value.length, event.offsetX, event.offsetY);
  return (
    <div class="heat">
      <div ref={host} class="heat-room">
        <canvas
          ref={canvas}
          role="img"
          aria-label="Every rank, one cell each; the table has the same numbers"
          onPointerMove={(event) => {
            pointed.value = at(event);
          }}
          onPointerLeave={set(pointed, null)}
          onClick={(event) => {
            selected.value = at(event) ?? selected.value;
          }}
        />
      </div>
    </div>
  );
}
