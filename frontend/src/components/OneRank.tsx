// All that is known of one rank, over the right side of the page: its numbers, its last minutes beside the mean or another
// rank, who it is, and what happened to it.
import { computed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { connected, lookAt, mean, past, place, rows, timeline, timelineVersion, view, when } from "../app";
import { beside, selected, windowMin, zoom } from "../choices";
import { localMs } from "../clock";
import { csvFile, rankCsv, save } from "../csv";
import { ranksOf } from "../events";
import { count, duration, NEVER, percent, ratio } from "../format";
import { historyOf } from "../history";
import { RankChart } from "../rankchart";
import { type EngineRow, sourceOf } from "../rows";
import { drawEvery, edges } from "../span";
import type { LogEntry } from "../store";
import { paletteVersion } from "../theme";
import type { SourceKind } from "../types.gen";
import { STATUS_HELP, Status } from "./Grid";
import { WindowButtons } from "./LoadChart";
import { told } from "./Place";
import { pointedAt } from "./RankMap";
import { Button, Icon, set, useDrawing } from "./ui";
import { When } from "./When";

const EVENTS = 30;

function usePanes(rank: number) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<RankChart | null>(null);
  const drawn = useRef({ at: 0, what: "" });
  const shown = useRef(rank);
  shown.current = rank;

  useEffect(() => {
    if (host.current === null) return;
    chart.current = new RankChart(host.current, {
      onHover: (at) => {
        pointedAt.value = at;
      },
      onPick: lookAt,
    });
    drawn.current.what = "";
    timelineVersion.value += 1;
    return () => chart.current?.destroy();
  }, []);

  useDrawing(() => {
    timelineVersion.value;
    const span = edges();
    if (chart.current === null || span === null || selected.value === null) return;
    const what = [selected, beside, windowMin, zoom].map((s) => s.value).join() + past.value?.at;
    const at = localMs();
    if (what === drawn.current.what && at - drawn.current.at < drawEvery(span, 440)) return;
    drawn.current = { at, what };
    const [from, to] = span;
    const history = shownHistory(selected.value, span);
    chart.current.draw({ ...history, from, to, moment: past.value?.at ?? null });
  });

  useDrawing(() => {
    paletteVersion.value;
    connected.value;
    requestAnimationFrame(() => chart.current?.recolour());
  });

  useDrawing(() => {
    chart.current?.point(pointedAt.value);
  });
  return host;
}

function Compare() {
  return (
    <label class="compare">
      beside{" "}
      <input
        type="number"
        class="input"
        min={0}
        max={Math.max(0, rows.value.length - 1)}
        placeholder="the mean"
        aria-label="Compare with rank"
        value={beside.value ?? ""}
        onInput={(event) => {
          const { value } = event.currentTarget;
          beside.value = /^\d{1,6}$/.test(value) ? Number(value) : null;
        }}
      />
    </label>
  );
}

function Fact({ name, children }: { name: string; children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd title={children}>{children}</dd>
    </div>
  );
}

const SOURCES: Record<SourceKind, string> = {
  reports: "its own reports to this coordinator",
  vllm: "metrics of vLLM's API server",
  sglang: "SGLang's loads",
  tap: "what a coordinator tells its front-ends",
};

/** Who told the numbers that are shown, and which source tells others beside them. */
function sourceText(rank: number): string {
  const { snapshot } = view.value;
  const source = snapshot === null ? null : sourceOf(snapshot.engines, rank);
  const where = told(rank);
  if (source === null) return where === null ? NEVER : `nothing was told so far; asked is ${where}`;
  if (where === null) return SOURCES[source];
  return source === "reports" ? `${SOURCES[source]}; beside them ${where}` : `${SOURCES[source]}: ${where}`;
}

/** Its numbers; those of the rank beside it stand above the panes. */
function Facts({ row }: { row: EngineRow }) {
  const peer = place(row.index);
  return (
    <dl class="facts">
      <Fact name="Waiting">{count(row.waiting)}</Fact>
      <Fact name="Running">{count(row.running)}</Fact>
      <Fact name="× mean">{ratio(row.load, mean.value)}</Fact>
      <Fact name="KV cache">{percent(row.kvCacheUsage)}</Fact>
      <Fact name="Wave, step">{`${count(row.wave)}, ${count(row.step)}`}</Fact>
      <Fact name="Last report">{row.age === null ? NEVER : `${duration(row.age)} ago`}</Fact>
      <Fact name="Restarts">{row.age === null && row.restarts === 0 ? NEVER : count(row.restarts)}</Fact>
      <Fact name="Connected">{peer === null ? NEVER : `since ${when(peer.connected_at)}`}</Fact>
      <Fact name="Source of the numbers">{sourceText(row.index)}</Fact>
      <Fact name="Peer">
        {peer === null ? "not known" : `${peer.name}${peer.host === "" ? "" : `, ${peer.address}`}`}
      </Fact>
      {peer?.why != null && <Fact name="Ended">{`${peer.why}, ${when(peer.ended_at)}`}</Fact>}
    </dl>
  );
}

const named = computed(() => {
  const rank = selected.value;
  return (view.value.snapshot?.alarms ?? []).filter(({ engines }) => rank !== null && engines.includes(rank));
});

const log = computed(() => view.value.log);
const events = computed<LogEntry[]>(() => {
  const rank = selected.value;
  return rank === null
    ? []
    : log.value
        .filter((entry) => ranksOf(entry).includes(rank))
        .slice(-EVENTS)
        .reverse();
});

function Events() {
  if (events.value.length === 0) return <p class="muted">The log has nothing about it.</p>;
  return (
    <ol class="log">
      {events.value.map((entry) => (
        <li
          key={entry.type === "marker" ? entry.key : entry.seq}
          class={`log-${entry.type === "marker" ? "warn" : entry.tone}`}
        >
          <When at={entry.at} />
          <Icon name={entry.type === "marker" ? "warn" : entry.tone} />
          <span>{entry.text}</span>
        </li>
      ))}
    </ol>
  );
}

function shownHistory(rank: number, [from, to]: [number, number]) {
  const states = timeline.statesBetween(from, to);
  return historyOf(states, rank, beside.value, timeline.holds(rows.peek().length));
}

function saveRank(rank: number): void {
  const span = edges();
  if (span !== null) save(`dp-coordinator-rank-${rank}.csv`, csvFile(rankCsv(shownHistory(rank, span))));
}

function Body({ rank }: { rank: number }) {
  const host = usePanes(rank);
  const row = rows.value[rank];
  return (
    <>
      {row === undefined ? (
        <p>{rows.value.length === 0 ? NEVER : `There are ranks 0 to ${rows.value.length - 1}.`}</p>
      ) : (
        <>
          {named.value.map((alarm) => (
            <p key={alarm.kind} class={`rank-alarm rank-alarm-${alarm.severity}`}>
              <Icon name={alarm.severity === "critical" ? "alarm" : "warn"} /> {alarm.title}
            </p>
          ))}
          <p class="muted">{STATUS_HELP[row.status]}.</p>
          <Facts row={row} />
        </>
      )}
      <div class="drawer-tools">
        <WindowButtons label="Time of the rank" />
        <Button
          look="small"
          title="This rank over time, as comma-separated values"
          onClick={() => saveRank(rank)}
        >
          CSV
        </Button>
      </div>
      <div
        ref={host}
        class="rank-panes"
        role="img"
        aria-label={`Rank ${rank} over time: requests, against the mean, KV cache, step lag, age of its reports`}
      />
      <h3>Events</h3>
      <Events />
    </>
  );
}

export function OneRank() {
  const rank = selected.value;
  const panel = useRef<HTMLElement>(null);
  const before = useRef<Element | null>(null);
  const open = rank !== null;
  useEffect(() => {
    if (!open) {
      if (before.current instanceof HTMLElement && before.current.isConnected) before.current.focus();
      before.current = null;
      return;
    }
    before.current = document.activeElement;
    // A rank that the address names opens with the page, and takes nobody's focus.
    if (before.current !== null && before.current !== document.body) panel.current?.focus();
  }, [open]);
  if (rank === null) return null;
  const row = rows.value[rank];
  return (
    <aside ref={panel} class="drawer" tabIndex={-1} aria-label={`Rank ${rank}`} data-testid="one-rank">
      <header>
        <h2>Rank {rank}</h2>
        {row !== undefined && <Status row={row} />}
        <Compare />
        <Button look="small" onClick={set(selected, null)} aria-keyshortcuts="Escape">
          Close
        </Button>
      </header>
      <Body rank={rank} />
    </aside>
  );
}
