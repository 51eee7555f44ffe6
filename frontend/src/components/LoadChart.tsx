import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { connected, historyVersion, loadHistory, serverNow, view } from "../app";
import { type Hover, LoadChart as Plot } from "../chart";
import { localMs } from "../clock";
import { clockTime, count } from "../format";
import { paletteVersion } from "../theme";
import { Panel } from "./ui";

const WINDOWS_MIN = [1, 5, 15, 60] as const;

const windowMin = signal<number>(5);
const hover = signal<Hover | null>(null);

function WindowButtons() {
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">Time shown</legend>
      {WINDOWS_MIN.map((minutes) => (
        <button
          key={minutes}
          type="button"
          aria-pressed={windowMin.value === minutes}
          onClick={() => {
            windowMin.value = minutes;
          }}
        >
          {minutes} min
        </button>
      ))}
    </fieldset>
  );
}

/** What the lines mean, with the values under the pointer or those of now. */
function Legend() {
  const { snapshot } = view.value;
  const at = hover.value;
  const values = at ?? snapshot?.totals ?? null;
  return (
    <p class="legend">
      <span class="legend-item">
        <span class="swatch swatch-running" /> running <b>{count(values?.running ?? null)}</b>
      </span>
      <span class="legend-item">
        <span class="swatch swatch-waiting" /> waiting <b>{count(values?.waiting ?? null)}</b>
      </span>
      <span class="legend-item">
        <span class="swatch swatch-band" /> wave
      </span>
      <span class="legend-time">{at === null ? "now" : `at ${clockTime(at.at)}`}</span>
    </p>
  );
}

function Canvas() {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const drawnAt = useRef(0);
  const drawnMin = useRef(0);

  useEffect(() => {
    if (host.current === null) return;
    plot.current = new Plot(host.current, (next) => {
      hover.value = next;
    });
    drawnAt.current = 0;
    historyVersion.value += 1;
    return () => plot.current?.destroy();
  }, []);

  useSignalEffect(() => {
    historyVersion.value;
    const to = serverNow.value;
    const minutes = windowMin.value;
    if (plot.current === null || to === null) return;
    // No more often than one pixel's worth of time, and at least once a second.
    const every = Math.min(1000, (minutes * 60_000) / Math.max(200, host.current?.clientWidth ?? 600));
    const at = localMs();
    if (minutes === drawnMin.current && at - drawnAt.current < every) return;
    drawnAt.current = at;
    drawnMin.current = minutes;
    // A coordinator younger than the window does not leave most of the chart empty.
    const from = Math.max(to - minutes * 60, Math.min(loadHistory.oldest ?? to, to - 60));
    plot.current.draw({
      columns: loadHistory.columns(from),
      bands: loadHistory.bands(from, to),
      restarts: view
        .peek()
        .log.filter((entry) => entry.type === "marker" && entry.kind === "restarted")
        .map((entry) => entry.at),
      from,
      to,
      newest: Math.min(to, loadHistory.newest ?? to),
    });
  });

  useSignalEffect(() => {
    paletteVersion.value;
    connected.value; // without a connection the page turns grey, and so does the chart
    requestAnimationFrame(() => plot.current?.recolour());
  });

  const nothing = view.value.snapshot?.totals.running === null && loadHistory.empty;
  return (
    <div class="chart-frame">
      <div ref={host} class="chart" role="img" aria-label={summary()} />
      {nothing && <p class="chart-empty">No rank has reported its load yet</p>}
    </div>
  );
}

/** The chart in words: what it shows. Its numbers stand in the header and the legend. */
function summary(): string {
  const minutes = windowMin.value;
  return `Waiting and running requests over the last ${minutes} ${minutes === 1 ? "minute" : "minutes"}; the numbers of now are in the header`;
}

export function LoadPanel() {
  return (
    <Panel id="load" title="Load" tools={<WindowButtons />}>
      <Legend />
      <Canvas />
    </Panel>
  );
}
