import { useComputed } from "@preact/signals";
import {
  backToLive,
  fetcher,
  type LookBack,
  link,
  mean,
  now,
  past,
  present,
  realNow,
  serverNow,
  view,
} from "../app";
import { count, duration, moment, restartText } from "../format";
import { elapsedSince } from "../rows";
import { cycleTheme, theme } from "../theme";
import { alarmWords } from "./Alarms";
import { helpOpen } from "./Help";
import { StartButton } from "./StartWave";
import { Button, Icon, set } from "./ui";

/** Data older than this is no longer called live. */
const LIVE_S = 2;

const DIALECT = "The vLLM generation whose wire format is spoken";

/** How old the numbers on the page are; it grows by itself when messages stop. */
function DataAge() {
  const { snapshot, snapshotAt } = present.value;
  const state = link.value.state;
  if (snapshot === null)
    return <span class="age">{state === "open" ? "waiting for data" : "connecting…"}</span>;
  const age = snapshot.data_age_s + elapsedSince(snapshotAt, realNow.value);
  if (past.value !== null) return <span class="age age-old">view paused</span>;
  if (state !== "open") return <span class="age age-old">data is {duration(age)} old</span>;
  if (snapshot.recording) return <span class="age age-old">recording</span>;
  const old = age > LIVE_S;
  return (
    <span class={old ? "age age-old" : "age age-live"} title="Age of the newest state on this page">
      <Icon name={old ? "warn" : "working"} />
      {old ? `data is ${duration(age)} old` : `live, ${duration(age)}`}
    </span>
  );
}

export function TopBar() {
  const { snapshot, hello } = present.value;
  return (
    <header class="topbar">
      <div class="brand">
        <img src="./favicon.svg" width="24" height="24" alt="" />
        <h1>DP coordinator</h1>
        {snapshot !== null && (
          <span
            class="chip"
            title={snapshot.watching ? "Nothing is replaced here, and nothing can be started" : DIALECT}
          >
            {snapshot.watching ? "watching" : `dialect vLLM ${snapshot.dialect}`}
          </span>
        )}
        {snapshot !== null && snapshot.restarts > 0 && hello !== null && (
          <span class="chip" title="The coordinator died and came back with its wave" data-testid="restarts">
            {restartText(snapshot.restarts, hello.started_at, snapshot.at)}
          </span>
        )}
      </div>
      <div class="topbar-tools">
        <DataAge />
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

function Stat(props: { label: string; value: string; sub?: string; swatch?: string }) {
  return (
    <div class="stat">
      <dt>
        {props.swatch !== undefined && <span class={`swatch swatch-${props.swatch}`} />}
        {props.label}
      </dt>
      <dd>
        <span class="stat-value">{props.value}</span>
        {props.sub !== undefined && <span class="stat-sub">{props.sub}</span>}
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

const Unconfirmed = () => (
  <div class="phase-age" data-testid="unconfirmed">
    step not confirmed
  </div>
);

function StatePill() {
  const { snapshot, snapshotAt } = view.value;
  if (snapshot === null) return <div class="phase tone-plain">NO DATA</div>;
  const live = link.value.state === "open" || past.value !== null;
  const { state, state_text, state_tone, state_age_s, alarms, wave } = snapshot;
  const age = state_age_s + elapsedSince(snapshotAt, now.value);
  return (
    <div class="phase-block">
      <div class={`phase tone-${state_tone}`} data-tone={state_tone} title={state_text}>
        <Icon name={state === "recovering" || state === "waiting" ? "starting" : state} />
        <span data-testid="phase">{state.toUpperCase()}</span>
        <AlarmCount alarms={alarms.length} />
      </div>
      <div class="phase-age">{live ? `for ${duration(age)}` : "when last heard"}</div>
      {state === "running" && wave.confirmed_at === null && <Unconfirmed />}
    </div>
  );
}

/** The first thing seen: what state, which wave, how much load, who is there. */
export function Hero() {
  const { snapshot } = view.value;
  const expected = useComputed(() => {
    const { snapshot } = view.value;
    return snapshot === null ? "" : `of ${count(snapshot.engine_count)}`;
  });
  const leftOut = useComputed(() => view.value.snapshot?.totals.left_out ?? "");
  const perRank = useComputed(() =>
    mean.value === null ? "" : `mean load ${mean.value.toFixed(1)} per rank`,
  );
  return (
    <section class="hero" aria-label="State">
      <StatePill />
      <dl class="stats">
        {(!snapshot?.watching || snapshot.wave_coordination) && (
          <Stat label="Wave" value={count(snapshot?.current_wave ?? null)} />
        )}
        <Stat label="Waiting" value={count(snapshot?.totals.waiting ?? null)} swatch="waiting" />
        <Stat
          label="Running"
          value={count(snapshot?.totals.running ?? null)}
          swatch="running"
          sub={leftOut.value}
        />
        <Stat
          label={snapshot?.watching ? "Engines told of" : "Engines subscribed"}
          value={count(snapshot?.engines_subscribed ?? null)}
          sub={expected.value}
        />
        {!snapshot?.watching && <Stat label="Front-ends" value={count(snapshot?.front_ends ?? null)} />}
      </dl>
      <span class="visually-hidden">{perRank}</span>
      <StartButton />
    </section>
  );
}

/** Said to screen readers when the state changes, and only then. */
export function Announcer() {
  const text = useComputed(() => {
    const { snapshot } = present.value;
    return snapshot === null ? "" : `${snapshot.state}, wave ${snapshot.current_wave}`;
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

/** What is not known of the moment that is shown, or not yet. */
function unknown({ at, known, asking }: LookBack): string {
  const ranks = "each rank and alarms";
  if (asking === "loading") return `Loading what is known of ${ranks} …`;
  if (asking === "failed") return `What is known of ${ranks} could not be loaded.`;
  if (known === "nothing")
    return "Nothing is known of this moment: neither this page nor the coordinator recorded it.";
  const { oldest } = fetcher;
  const before = oldest !== null && oldest > at ? ` before ${moment(oldest, serverNow.value)}` : " then";
  return `Nothing is kept of ${ranks}${before}: only totals, waves and events are shown.`;
}

/** Said in large letters while the page does not show the present. */
export function PastBar() {
  const looked = past.value;
  if (looked === null) return null;
  return (
    <div class="banner banner-past">
      <Icon name="paused" />
      <strong role="status">PAUSED VIEW</strong>
      <span>
        as of {moment(looked.shown, serverNow.value)},{" "}
        {duration((serverNow.value ?? looked.shown) - looked.shown)} ago
      </span>
      {looked.known !== "all" && <span data-testid="unknown">{unknown(looked)}</span>}
      <Button look="primary" onClick={backToLive}>
        Back to live
      </Button>
    </div>
  );
}
