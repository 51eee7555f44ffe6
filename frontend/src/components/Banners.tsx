// The strip below the state, as high whatever stands in it: a lost connection, alarms, what is waited for, what is told in
// passing; and where there is none of these, what the deployment does in a sentence.
import { nonsense } from "../address";
import {
  connected,
  fetcher,
  type LookBack,
  link,
  past,
  present,
  realNow,
  retryNow,
  view,
  when,
} from "../app";
import { lastCleared } from "../events";
import { count, duration } from "../format";
import { elapsedSince } from "../rows";
import type { SnapshotMessage } from "../types.gen";
import { Alarms } from "./Alarms";
import { Button, CopyButton, Icon, set } from "./ui";
import { When } from "./When";

function Lost() {
  const now_ = realNow.value;
  const state = link.value;
  const { snapshot, snapshotAt } = present.value;
  if (state.state !== "lost") return null;
  const wait = (state.retryAt - now_) / 1000;
  const age = snapshot === null ? null : snapshot.data_age_s + elapsedSince(snapshotAt, now_);
  return (
    <div class="card lost">
      <div>
        <p class="lost-title" role="alert">
          <Icon name="link" />
          Disconnected
        </p>
        <p>
          {state.why}{" "}
          {age === null ? "Nothing was heard so far." : <>All numbers below are {duration(age)} old.</>}
        </p>
      </div>
      <div class="lost-next">
        <span>{wait > 0 ? `Next try in ${Math.ceil(wait)} s` : "Trying now…"}</span>
        <Button onClick={retryNow}>Try now</Button>
      </div>
    </div>
  );
}

function Outdated() {
  const { outdated } = present.value;
  if (!outdated) return null;
  return (
    <div class="card card-warn" role="alert">
      <p>
        <Icon name="warn" /> <strong>This page is older than the coordinator</strong>
      </p>
      <p>
        It speaks another version of the stream: load the page again.{" "}
        <Button look="small" onClick={() => location.reload()}>
          Reload
        </Button>
      </p>
    </div>
  );
}

/** A link that was cut or mistyped still shows the page; what was left out of it is told, over the page's foot. */
export function Nonsense() {
  const left = nonsense.value;
  if (left.length === 0) return null;
  return (
    <div class="toast" role="status">
      <Icon name="warn" />
      <span>
        <strong>Part of this page's address was not understood and left out:</strong>{" "}
        <code>{left.join(", ")}</code>
      </span>
      <Button onClick={set(nonsense, [])}>Dismiss</Button>
    </div>
  );
}

function Address({ label, who, value }: { label: string; who: string; value: string }) {
  return (
    <li>
      <strong>{label}</strong> <span class="muted">{who}</span>
      <CopyButton label="Copy" what={`the ${label} address`} text={() => value} />
      <code title={value}>{value}</code>
    </li>
  );
}

/** Engines and front-ends that were here before a restart come back by themselves: nothing to teach meanwhile. */
const rejoining = () => view.value.snapshot?.state === "recovering";

/** Whether somebody is to be taught to connect: not where an alarm says who has gone. */
function isAwaited({ ready, front_ends, alarms, watching }: SnapshotMessage): boolean {
  if (watching || past.value !== null || link.value.state === "lost") return false;
  return !ready || !(front_ends > 0 || rejoining() || alarms.some(({ kind }) => kind === "front_end_gone"));
}

/** Teaches what to do while engines or front-ends are not there. */
function Waiting() {
  const { snapshot } = view.value;
  if (snapshot === null || !isAwaited(snapshot)) return null;
  const { endpoints, engine_count, engines_subscribed, ready } = snapshot;
  return (
    <section class="card waiting" aria-label="Waiting for peers">
      <h2>
        {ready
          ? "No front-end is subscribed"
          : `Waiting for engines: ${count(engines_subscribed)} of ${count(engine_count)} subscribed`}
        <span class="muted">
          {ready
            ? "Load is gathered all the same. A front-end subscribes here to learn it:"
            : "READY is sent once every engine has subscribed. Engines connect to these addresses:"}
        </span>
      </h2>
      <ul>
        {!ready && (
          <>
            <Address label="back_publish" who="engines, XSUB" value={endpoints.back_publish} />
            <Address label="back_output" who="engines, PUSH" value={endpoints.back_output} />
          </>
        )}
        <Address label="front_publish" who="front-ends, XSUB" value={endpoints.front_publish} />
      </ul>
    </section>
  );
}

/** What the coordinator wants told for as long as it is so: a start that nobody followed yet, a restart. */
const notices = () => (connected.value && past.value === null ? (view.value.snapshot?.notices ?? []) : []);

function Notices() {
  const told = notices();
  if (told.length === 0) return null;
  return (
    <div class="card">
      {told.map(({ kind, tone, text }) => (
        <p key={kind} class={`notice-line notice-${tone}`} role="status" data-testid={kind}>
          <Icon name={tone === "good" ? "good" : "starting"} />
          <strong>{text}</strong>
        </p>
      ))}
    </div>
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
  const before = oldest !== null && oldest > at ? ` before ${when(oldest)}` : " then";
  return `Nothing is kept of ${ranks}${before}: only totals, waves and events are shown.`;
}

/** What the deployment does, where nothing is wrong; and what was wrong last. */
function Calm() {
  const { snapshot, log } = view.value;
  const looked = past.value;
  if (looked !== null && looked.known !== "all") {
    return (
      <div class="card calm">
        <p data-testid="unknown">{unknown(looked)}</p>
      </div>
    );
  }
  if (snapshot === null)
    return link.value.state === "lost" ? null : <div class="card calm muted">No state has arrived yet</div>;
  // The strip has something else to say.
  const said = snapshot.alarms.length > 0 || notices().length > 0 || isAwaited(snapshot);
  if (said || link.value.state === "lost") return null;
  const last = lastCleared(log);
  return (
    <div class="card calm">
      <p class="calm-state">{snapshot.state_text}</p>
      <p class="muted">
        No alarm.{" "}
        {last !== null && (
          <span class="calm-last">
            {last.text} (<When at={last.at} />, {duration(snapshot.at - last.at)} ago)
          </span>
        )}
      </p>
    </div>
  );
}

export function Strip() {
  return (
    <div class="strip" data-testid="strip">
      <Lost />
      <Outdated />
      <Alarms />
      <Waiting />
      <Notices />
      <Calm />
    </div>
  );
}
