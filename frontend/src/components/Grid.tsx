import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { connected, mean, rows } from "../app";
import { selected } from "../choices";
import { count, duration, NEVER, percent, ratio } from "../format";
import { HeatGrid, rankAt } from "../heat";
import type { EngineRow } from "../rows";
import { SPARK_HEIGHT, SPARK_WIDTH, sparkline } from "../sparks";
import { paletteVersion } from "../theme";
import { filteredRanks, fullLoad, maxLoad } from "./engines";
import { placeText } from "./Place";
import { Button, Icon, set, useDrawing, useInSight } from "./ui";

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

const STATUS_HELP = {
  never: "No report has arrived from this rank",
  joining: "Connected; READY is sent once all engines are",
  idle: "It has no requests",
  working: "It has requests, and lately news of them",
  quiet: "It has requests and nothing new, which is normal: vLLM reports only when counts change",
  suspect: "An alarm names it",
  gone: "Its connection ended",
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

function words(row: EngineRow): string {
  const age = row.age === null ? "never reported" : `reported ${duration(row.age)} ago`;
  return [
    `${count(row.waiting)} waiting`,
    `${count(row.running)} running`,
    `${ratio(row.load, mean.value)} the mean`,
    `kv cache ${percent(row.kvCacheUsage)}`,
    `step ${count(row.step)}, wave ${count(row.wave)}`,
    age,
    row.restarts === 0 ? null : `${row.restarts} restarts`,
  ]
    .filter((part) => part !== null)
    .join(" · ");
}

/** One rank in a line: the one under the pointer, or the one that was chosen. */
export function RankDetail() {
  const rank = pointed.value ?? selected.value;
  if (rank === null) return null;
  const row = rows.value[rank];
  return (
    <div class="rank-detail" data-testid="rank-detail">
      <strong>Rank {rank}</strong>
      {row === undefined ? (
        <span>{rows.value.length === 0 ? NEVER : `There are ranks 0 to ${rows.value.length - 1}.`}</span>
      ) : (
        <>
          <Status row={row} />
          <Spark rank={rank} />
          <span>{words(row)}</span>
          {placeText(rank) !== undefined && <span class="muted">{placeText(rank)}</span>}
        </>
      )}
      {selected.value !== null && pointed.value === null && (
        <Button look="small" onClick={set(selected, null)}>
          Close
        </Button>
      )}
    </div>
  );
}

export function Grid() {
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
    const kept = filteredRanks.value;
    const marked = [selected.value, pointed.value].filter((rank) => rank !== null);
    const full = fullLoad.value;
    grid.current?.draw(rows.value, full, (rank) => kept === null || kept.has(rank), marked);
  });

  useDrawing(() => {
    paletteVersion.value;
    connected.value;
    requestAnimationFrame(() => {
      grid.current?.recolour();
      size.current.value += 1;
    });
  });

  const at = (event: MouseEvent) =>
    grid.current === null
      ? null
      : rankAt(grid.current.layout, rows.value.length, event.offsetX, event.offsetY);
  return (
    <div class="heat">
      <p class="legend">
        <span class="legend-item">
          <span class="heat-scale" /> load 0 to {count(fullLoad.value)}
          {maxLoad.value > fullLoad.value && " and more"}
        </span>
        <span class="legend-item">
          <span class="heat-waiting" /> part that waits
        </span>
        <span class="legend-item">✕ suspect or gone</span>
        <span class="legend-item">
          <span class="heat-never" /> never reported
        </span>
      </p>
      <div ref={host}>
        <canvas
          ref={canvas}
          role="img"
          aria-label="Load of each rank, one cell per rank; the table has the same numbers"
          onPointerMove={(event) => {
            pointed.value = at(event);
          }}
          onPointerLeave={set(pointed, null)}
          onClick={(event) => {
            selected.value = at(event);
          }}
        />
      </div>
    </div>
  );
}
