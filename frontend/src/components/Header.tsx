import { useComputed } from "@preact/signals";
import { linkToShown } from "../address";
import {
  backToLive,
  link,
  mean,
  now,
  past,
  present,
  realNow,
  rows,
  serverNow,
  shownAt,
  view,
  when,
} from "../app";
import { count, duration, NEVER, percent, ratio, restartText } from "../format";
import { type EngineRow, elapsedSince } from "../rows";
import { cycleTheme, theme } from "../theme";
import type { SnapshotMessage } from "../types.gen";
import { switchZone, utc, zoneName } from "../zone";
import { alarmWords } from "./Alarms";
import { helpOpen } from "./Help";
import { StartButton } from "./StartWave";
import { Button, CopyButton, Icon, set } from "./ui";

/** Data older than this is no longer called live. */
const LIVE_S = 2;

/** How old the numbers on the page are; it grows by itself when messages stop. */
function DataAge() {
  const { snapshot, snapshotAt } = present.value;
  const state = link.value.state;
  if (snapshot === null)
    return <span class="age">{state === "open" ? "waiting for data" : "connecting…"}</span>;
  const age = snapshot.data_age_s + elapsedSince(snapshotAt, realNow.value);
  if (state !== "open") return <span class="age age-old">data is {duration(age)} old</span>;
  if (snapshot.recording) return <span class="age age-old">recording</span>;
  const old = age > LIVE_S;
  return (
    <span class={old ? "age age-old" : "age age-live"} title="Age of the newest state on this page">
      <Icon name={old ? "warn" : "working"} />
      {old ? `data is ${duration(age)} old` : `live, ${age < 1 ? "< 1 s" : duration(age)}`}
    </span>
  );
}

export function TopBar() {
  const { snapshot, hello } = present.value;
  const zone = zoneName(shownAt.value ?? Date.now() / 1000);
  return (
    <header class="topbar">
      <div class="brand">
        <img src="./favicon.svg" width="24" height="24" alt="" />
        <h1 title={snapshot?.name}>{snapshot?.name || "DP coordinator"}</h1>
        {snapshot?.watching && (
          <span class="chip" title="Nothing is replaced here, and nothing can be started">
            watching
          </span>
        )}
        {snapshot !== null && snapshot.restarts > 0 && hello !== null && (
          <span class="chip" title="The coordinator died and came back with its wave" data-testid="restarts">
            {restartText(snapshot.restarts, when(hello.started_at))}
          </span>
        )}
      </div>
      <div class="topbar-tools">
        <DataAge />
        <span class="wide-only">
          <CopyButton label="Copy link" what="a link to what is shown" text={linkToShown} look="quiet" />
        </span>
        <Button
          look="quiet"
          onClick={switchZone}
          aria-label={`Times in ${zone}: switch to ${utc.value ? "local time" : "UTC"}`}
        >
          {zone}
        </Button>
        <Button look="quiet" onClick={cycleTheme} aria-label={`Theme: ${theme.value}`}>
          <Icon name={theme.value} />
          <span class="wide-only">{theme.value}</span>
        </Button>
        <Button look="quiet" onClick={set(helpOpen, true)} aria-label="Help and keyboard shortcuts">
          <span aria-hidden="true">?</span>
        </Button>
      </div>
    </header>
  );
}

/** `wide`: its share of the room, whichever others there are. */
function Stat(props: { label: string; value: string; sub?: string; swatch?: string; wide: number }) {
  return (
    <div class="stat" style={{ flexGrow: props.wide }}>
      <dt>
        {props.swatch !== undefined && <span class={`swatch swatch-${props.swatch}`} />}
        {props.label}
      </dt>
      <dd>
        <span class="stat-value">{props.value}</span>
        {props.sub !== undefined && (
          <span class="stat-sub" title={props.sub}>
            {props.sub}
          </span>
        )}
      </dd>
    </div>
  );
}

function AlarmCount({ alarms }: { alarms: number }) {
  if (alarms === 0) return null;
  return (
    <span class="phase-alarms">
      {alarms} {alarms === 1 ? "alarm" : "alarms"}
    </span>
  );
}

function StatePill() {
  const { snapshot, snapshotAt } = view.value;
  if (past.value !== null) return <LookingBack />;
  if (snapshot === null) return <div class="phase tone-plain">NO DATA</div>;
  const { state, state_text, state_tone, state_age_s, alarms, wave } = snapshot;
  const age = state_age_s + elapsedSince(snapshotAt, now.value);
  const unconfirmed = state === "running" && wave.confirmed_at === null;
  return (
    <div class="phase-block">
      <div class={`phase tone-${state_tone}`} data-tone={state_tone} title={state_text}>
        <Icon name={state === "recovering" || state === "waiting" ? "starting" : state} />
        <span data-testid="phase">{state.toUpperCase()}</span>
        <AlarmCount alarms={alarms.length} />
      </div>
      <div class="phase-age">
        {link.value.state === "open" ? `for ${duration(age)}` : "when last heard"}
        {unconfirmed && <span data-testid="unconfirmed">step not confirmed</span>}
      </div>
    </div>
  );
}

/** Stands in place of the state, so that what was is not taken for what is. */
function LookingBack() {
  const looked = past.value;
  const { snapshot } = view.value;
  if (looked === null) return null;
  const ago = (serverNow.value ?? looked.shown) - looked.shown;
  return (
    <div class="phase-block" data-testid="looking-back">
      <div class="phase tone-past">
        <Icon name="back" />
        <strong role="status">LOOKING BACK</strong>
        <AlarmCount alarms={snapshot?.alarms.length ?? 0} />
      </div>
      <div class="phase-age">
        {when(looked.shown)} {zoneName(looked.shown)}, {duration(ago)} ago
        {snapshot !== null && (
          <span>
            was <b data-testid="phase">{snapshot.state.toUpperCase()}</b>
          </span>
        )}
      </div>
    </div>
  );
}

/** Looking back nothing can be done but to come back. */
function Act() {
  if (past.value === null) return <StartButton />;
  return (
    <div class="start">
      <Button look="primary" onClick={backToLive}>
        {present.value.snapshot?.recording ? "Back to the recording" : "Back to live"}
      </Button>
    </div>
  );
}

/** How many engines are expected, and which ranks are gone. */
function expected({ engine_count, engines }: SnapshotMessage): string {
  const gone = engines.status.others.gone ?? [];
  if (gone.length === 0) return `of ${count(engine_count)}`;
  const [who, more] = [gone.slice(0, 2).join(", "), gone.length > 2 ? ` and ${gone.length - 2} more` : ""];
  return `of ${count(engine_count)}: ${who}${more} gone`;
}

/** The rank that has the most of something; the first of equals. */
function most(value: (row: EngineRow) => number | null): { rank: number; value: number } | null {
  let found: { rank: number; value: number } | null = null;
  for (const row of rows.value) {
    const it = value(row);
    if (it !== null && (found === null || it > found.value)) found = { rank: row.index, value: it };
  }
  return found;
}

function Extremes() {
  const busiest = most((row) => row.load);
  const kv = most((row) => row.kvCacheUsage);
  const uneven = busiest !== null && mean.value !== null && mean.value > 0;
  return (
    <>
      <Stat
        label="KV cache, max"
        wide={0.9}
        value={percent(kv?.value ?? null)}
        sub={kv === null || kv.value === 0 ? "" : `rank ${kv.rank}`}
      />
      <Stat
        label="Busiest rank"
        wide={1}
        value={uneven ? ratio(busiest.value, mean.value) : NEVER}
        sub={uneven ? `the mean, rank ${busiest.rank}` : ""}
      />
    </>
  );
}

/** The first thing seen: what state, which wave, how much load, who is there. */
export function Hero() {
  const { snapshot } = view.value;
  const totals = snapshot?.totals;
  const perRank = useComputed(() =>
    mean.value === null ? "" : `mean load ${mean.value.toFixed(1)} per rank`,
  );
  return (
    <section
      id="state"
      tabIndex={-1}
      class={past.value === null ? "hero" : "hero hero-past"}
      aria-label="State"
    >
      <StatePill />
      <dl class="stats">
        {snapshot?.wave_coordination !== false && (
          <Stat label="Wave" value={count(snapshot?.current_wave ?? null)} wide={0.7} />
        )}
        <Stat label="Waiting" value={count(totals?.waiting ?? null)} swatch="waiting" wide={0.8} />
        <Stat
          label="Running"
          value={count(totals?.running ?? null)}
          swatch="running"
          sub={totals?.left_out ?? ""}
          wide={1.2}
        />
        <Stat
          label="Engines"
          value={count(snapshot?.engines_subscribed ?? null)}
          sub={snapshot === null ? "" : expected(snapshot)}
          wide={1.2}
        />
        {!snapshot?.watching && (
          <Stat label="Front-ends" value={count(snapshot?.front_ends ?? null)} wide={0.8} />
        )}
        <Extremes />
      </dl>
      <span class="visually-hidden">{perRank}</span>
      <Act />
    </section>
  );
}

/** Said to screen readers when the state changes, and only then. */
export function Announcer() {
  const text = useComputed(() => {
    const { snapshot } = present.value;
    if (snapshot === null) return "";
    return snapshot.wave_coordination ? `${snapshot.state}, wave ${snapshot.current_wave}` : snapshot.state;
  });
  const alarms = useComputed(() => alarmWords(present.value.snapshot?.alarms ?? []));
  return (
    <>
      <div class="visually-hidden" aria-live="polite" data-testid="announcer">
        {text}
      </div>
      <div class="visually-hidden" aria-live="polite">
        {alarms}
      </div>
    </>
  );
}
