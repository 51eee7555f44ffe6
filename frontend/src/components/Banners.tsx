// Strips and cards that stand above the panels, only when there is something to say.
import { nonsense } from "../address";
import { connected, link, present, realNow, retryNow, view } from "../app";
import { count, duration } from "../format";
import { elapsedSince } from "../rows";
import { Button, CopyButton, Icon, set } from "./ui";

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

/** What the coordinator wants told for as long as it is so: a start that nobody followed yet, a restart. */
export function Notices() {
  const { snapshot } = view.value;
  if (snapshot === null || !connected.value) return null;
  return snapshot.notices.map(({ kind, tone, text }) => (
    <div key={kind} class={`banner banner-${tone}`} role="status" data-testid={kind}>
      <Icon name={tone === "good" ? "good" : "starting"} />
      <strong>{text}</strong>
    </div>
  ));
}

/** Engines and front-ends that were here before a restart come back by themselves: nothing to teach meanwhile. */
const rejoining = () => view.value.snapshot?.state === "recovering";

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
  if (snapshot.watching) return null;
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
  if (snapshot === null || snapshot.wave_coordination || snapshot.watching) return null;
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
