// Strips and cards that stand above the panels, only when there is something to say.
import { nonsense } from "../address";
import { connected, link, now, present, realNow, retryNow, shownAt, view } from "../app";
import { count, duration, ranks, recoveryText } from "../format";
import { elapsedSince } from "../staleness";
import type { AlarmKindName } from "../types.gen";
import { Button, CopyButton, Icon, set } from "./ui";

/** An alarm that says the same makes a notice of the page's own needless. */
const stands = (kind: AlarmKindName) =>
  view.value.snapshot?.alarms.some((alarm) => alarm.kind === kind) ?? false;

/** A start is answered within milliseconds when all is well: before this it is no news. */
const ASKED_QUIET_S = 1;

export function LostBanner() {
  const now_ = realNow.value;
  const state = link.value;
  const { snapshot, snapshotAt } = present.value;
  if (state.state !== "lost") return null;
  const wait = (state.retryAt - now_) / 1000;
  const age = snapshot === null ? null : snapshot.data_age_s + elapsedSince(snapshotAt, now_);
  return (
    <div class="lost">
      <div class="lost-words">
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
        <p class="lost-countdown">{wait > 0 ? `Next try in ${Math.ceil(wait)} s` : "Trying now…"}</p>
        <Button onClick={retryNow}>Try now</Button>
      </div>
    </div>
  );
}

export function OutdatedBanner() {
  const { outdated } = present.value;
  if (!outdated) return null;
  return (
    <div class="banner banner-warn" role="alert">
      <Icon name="warn" />
      <strong>This page is older than the coordinator</strong>
      <span>It speaks another version of the stream: load the page again.</span>
      <Button onClick={() => location.reload()}>Reload</Button>
    </div>
  );
}

/** A link that was cut or mistyped still shows the page; what was left out of it is told. */
export function NonsenseBanner() {
  const left = nonsense.value;
  if (left.length === 0) return null;
  return (
    <div class="banner banner-warn" role="status">
      <Icon name="warn" />
      <strong>Part of this page's address was not understood and left out:</strong>
      <code>{left.join(", ")}</code>
      <Button onClick={set(nonsense, [])}>Dismiss</Button>
    </div>
  );
}

/** Asked and observed are kept apart: a start that nobody has followed yet is said so. */
export function StartingBanner() {
  const { snapshot, snapshotAt } = view.value;
  if (snapshot === null || snapshot.phase !== "starting" || snapshot.asked_age_s === null) return null;
  if (stands("asked_not_stepping")) return null;
  const age = snapshot.asked_age_s + elapsedSince(snapshotAt, now.value);
  if (age < ASKED_QUIET_S || !connected.value) return null;
  const stepping = new Set(snapshot.engines.stepping);
  const silent = snapshot.engines.restarts.map((_, i) => i).filter((i) => !stepping.has(i));
  const none = silent.length === snapshot.engine_count && silent.length > 1;
  return (
    <div class="banner banner-warn" role="status" data-testid="starting">
      <Icon name="starting" />
      <strong>Start asked {duration(age)} ago,</strong>
      <span>
        {none ? `none of the ${silent.length} ranks seen stepping` : `${ranks(silent)} not seen stepping`}
      </span>
    </div>
  );
}

/** A coordinator that came back says how far it has got, and, for a while, that it has. */
export function RecoveryBanner() {
  const { snapshot } = view.value;
  const at = shownAt.value;
  if (snapshot === null || snapshot.recovery === null || at === null || !connected.value) return null;
  if (stands("recovery_under_way")) return null;
  const said = recoveryText(snapshot.recovery, snapshot.current_wave, at);
  if (said === null) return null;
  const done = snapshot.recovery.phase === "done";
  return (
    <div class={done ? "banner banner-good" : "banner banner-warn"} data-testid="recovery">
      <Icon name={done ? "good" : "starting"} />
      <strong role="status">{said[0]}</strong>
      <span>{said[1]}</span>
    </div>
  );
}

/** Engines and front-ends that were here before a restart come back by themselves: nothing to teach meanwhile. */
const rejoining = () => view.value.snapshot?.recovery?.phase === "rejoining";

function Address({ label, who, value }: { label: string; who: string; value: string }) {
  return (
    <li>
      <div>
        <strong>{label}</strong> <span class="muted">{who}</span>
      </div>
      <code>{value}</code>
      <CopyButton label="Copy" what={`the ${label} address`} text={() => value} />
    </li>
  );
}

/** Teaches what to do while engines or front-ends were never there. */
export function Waiting() {
  const { snapshot } = view.value;
  if (snapshot === null) return null;
  const { endpoints, engine_count, engines_subscribed, ready, front_ends } = snapshot;
  if (ready && (front_ends > 0 || rejoining())) return null;
  return (
    <section class="waiting" aria-label="Waiting for peers">
      <h2>
        {ready
          ? "No front-end is subscribed"
          : `Waiting for engines: ${count(engines_subscribed)} of ${count(engine_count)} subscribed`}
      </h2>
      <p>
        {ready
          ? "Load is gathered all the same. A front-end subscribes here to learn it:"
          : "READY is sent once every engine has subscribed. Engines connect to these addresses:"}
      </p>
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

export function CoordinationOff() {
  const { snapshot } = view.value;
  if (snapshot === null || snapshot.wave_coordination) return null;
  return (
    <div class="banner" role="note">
      <Icon name="paused" />
      <strong>Wave coordination is off</strong>
      <span>
        Engines step on their own (dense model): there are no waves to start, load is shown as usual.
      </span>
    </div>
  );
}
