import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import {
  connected,
  goToIncident,
  lookAt,
  past,
  present,
  rows,
  shownAt,
  timeline,
  timelineVersion,
  view,
  when,
} from "../app";
import { type Hover, LoadChart as Plot } from "../chart";
import { series, WINDOWS_MIN, windowMin, zoom } from "../choices";
import { localMs } from "../clock";
import { csvFile, save, windowCsv } from "../csv";
import { marksOf } from "../events";
import { clockTime } from "../format";
import { linesOf, SERIES, SERIES_NAMES } from "../series";
import { drawEvery, edges } from "../span";
import { spreadOf } from "../spread";
import { paletteVersion } from "../theme";
import { GAP_S } from "../timeline";
import { pointedAt, TimeMap } from "./RankMap";
import { Button, Panel, Segments, set, useDrawing, useInSight } from "./ui";

const hover = signal<Hover | null>(null);

/** What the lines say of the moment that is shown: what the header says, too, and not the most of its second. */
const shownLines = computed(() => {
  const { snapshot } = view.value;
  if (snapshot === null) return linesOf(series.value, [], GAP_S);
  const spread = series.value === "sum" ? null : spreadOf(snapshot.engines);
  return linesOf(series.value, [{ at: snapshot.at, ...snapshot.totals, spread }], GAP_S);
});

export function WindowButtons({ label }: { label: string }) {
  return (
    <Segments
      label={label}
      choices={WINDOWS_MIN.map((minutes) => [minutes, `${minutes} min`] as const)}
      chosen={zoom.value === null ? windowMin.value : null}
      choose={(minutes) => {
        windowMin.value = minutes;
        zoom.value = null;
      }}
    />
  );
}

/** What the lines mean, with the values under the pointer or those of what is shown. */
function Legend() {
  const { lines, say } = shownLines.value;
  return (
    <span class="legend">
      {lines.map(({ name, colour, dash, values }, i) => (
        <span key={name} class="legend-item">
          <span class={`swatch swatch-${colour}`} data-dashed={dash.length > 0} /> {name}{" "}
          <b>{say((hover.value === null ? values[0] : hover.value.values[i]) ?? null)}</b>
        </span>
      ))}
      {present.value.snapshot?.wave_coordination !== false && (
        <span class="legend-item">
          <span class="swatch swatch-band" /> wave
        </span>
      )}
      {zoom.value !== null && (
        <Button look="small" onClick={set(zoom, null)}>
          Reset zoom
        </Button>
      )}
      <span class="legend-time">{whenWords()}</span>
    </span>
  );
}

function whenWords(): string {
  const { snapshot } = present.value;
  if (hover.value !== null) return `at ${when(hover.value.at)}`;
  if (past.value !== null) return `at ${when(past.value.shown)}`;
  return snapshot?.recording ? `at ${when(snapshot.at)}` : "now";
}

function usePlot() {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const drawn = useRef({ at: 0, what: "" });
  const inSight = useInSight(host);

  useEffect(() => {
    if (host.current === null) return;
    plot.current = new Plot(host.current, {
      onHover: (next) => {
        hover.value = next;
        pointedAt.value = next?.at ?? null;
      },
      onPick: lookAt,
      onZoom: (from, to) => {
        zoom.value = [from, to];
      },
    });
    drawn.current.what = "";
    timelineVersion.value += 1;
    return () => plot.current?.destroy();
  }, []);

  useDrawing(() => {
    timelineVersion.value;
    if (!inSight.value) return;
    const shown = edges();
    if (plot.current === null || shown === null) return;
    const [from, to] = shown;
    const every = drawEvery(shown, host.current?.clientWidth ?? 600);
    const at = localMs();
    const what = `${windowMin.value} ${zoom.value} ${past.value?.at} ${series.value}`;
    if (what === drawn.current.what && at - drawn.current.at < every) return;
    drawn.current = { at, what };
    const gap = series.value === "sum" ? GAP_S : timeline.holds(rows.peek().length);
    const lines = linesOf(series.value, timeline.moments(from), gap);
    plot.current.draw({
      lines,
      bands: timeline.bands(from, to),
      marks: marksOf(present.peek().log),
      from,
      to,
      newest: Math.min(to, timeline.newest ?? to),
      moment: past.value?.at ?? null,
    });
  });

  useDrawing(() => {
    paletteVersion.value;
    connected.value; // without a connection the page turns grey, and so does the chart
    requestAnimationFrame(() => plot.current?.recolour());
  });

  useDrawing(() => {
    plot.current?.point(hover.value === null ? pointedAt.value : null);
  });

  return host;
}

function Canvas() {
  const host = usePlot();
  const nothing = view.value.snapshot?.totals.running === null && timeline.empty;
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
  const when =
    zoom.value === null
      ? `over the last ${minutes} ${minutes === 1 ? "minute" : "minutes"}`
      : `from ${clockTime(zoom.value[0])} to ${clockTime(zoom.value[1])}`;
  const what =
    series.value === "sum" ? "Waiting and running requests" : `${SERIES_NAMES[series.value]} of requests`;
  return `${what} ${when}; the numbers of now are in the header`;
}

const STEPS = 600;

/** Leads the whole page through the past; its right end is the present, or the moment at which the page was paused. */
function Scrubber() {
  const shown = edges();
  const at = shownAt.value;
  if (shown === null || at === null) return null;
  const [from, to] = shown;
  const part = Math.round((STEPS * (Math.min(to, Math.max(from, at)) - from)) / (to - from));
  const words = past.value === null ? "live" : when(at);
  return (
    <input
      type="range"
      class="scrubber"
      min={0}
      max={STEPS}
      value={past.value === null && zoom.value === null ? STEPS : part}
      aria-label="Moment shown"
      aria-valuetext={words}
      title="Move back to see the whole page as it was"
      onInput={(event) => lookAt(from + (Number(event.currentTarget.value) / STEPS) * (to - from))}
    />
  );
}

/** From one alarm or restart to the one before or after it. */
function Incidents() {
  const go = (step: -1 | 1) => () => goToIncident(step);
  return (
    <span class="incidents">
      <button type="button" title="Incident before ([)" aria-label="Incident before" onClick={go(-1)}>
        ‹
      </button>
      <button type="button" title="Incident after (])" aria-label="Incident after" onClick={go(1)}>
        ›
      </button>
    </span>
  );
}

function saveWindow(): void {
  const span = edges();
  if (span === null) return;
  const name = `dp-coordinator-${new Date(span[0] * 1000).toISOString().slice(0, 19).replaceAll(":", "")}.csv`;
  save(name, csvFile(windowCsv(timeline, ...span)));
}

function SeriesButtons() {
  return (
    <Segments
      label="Lines"
      choices={SERIES.map((name) => [name, SERIES_NAMES[name]] as const)}
      chosen={series.value}
      choose={(name) => {
        series.value = name;
      }}
    />
  );
}

export function LoadPanel() {
  const tools = (
    <>
      <SeriesButtons />
      <WindowButtons label="Time shown" />
      <Button look="small" title="What is shown, as comma-separated values" onClick={saveWindow}>
        CSV
      </Button>
    </>
  );
  return (
    <Panel id="load" title="Load over time" note={<Legend />} tools={tools}>
      <Canvas />
      <TimeMap />
      <div class="scrub">
        <Incidents />
        <Scrubber />
      </div>
    </Panel>
  );
}
