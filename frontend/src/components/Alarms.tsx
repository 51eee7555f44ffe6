// What is wrong now, as the coordinator's doctor says it: a line each, and one of them open with its meaning and remedy.
// The page works out no alarm by itself: one truth.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { linkTo } from "../address";
import { connected, now, past, place, present, rows, view, when } from "../app";
import { selected } from "../choices";
import { duration } from "../format";
import { incidentText } from "../incidents";
import { elapsedSince } from "../rows";
import type { Alarm, AlarmKind } from "../types.gen";
import { rankWords } from "./Grid";
import { Button, CopyButton, Icon, set } from "./ui";
import { When } from "./When";

const READ = "What it means, and what to do";

/** Ranks that are named by a button each. */
const NAMED = 8;

/** The one that the viewer opened or closed; null: the first critical one is open. */
const chosen = signal<{ kind: AlarmKind; open: boolean } | null>(null);

/** The alarm that is open: the one chosen, or the first where that is critical; the others are lines. */
function openOf(alarms: readonly Alarm[]): Alarm | null {
  const mine = alarms.find(({ kind }) => kind === chosen.value?.kind);
  if (mine !== undefined && chosen.value?.open) return mine;
  const [first] = alarms;
  return first?.severity === "critical" && first !== mine ? first : null;
}

function Ranks({ alarm }: { alarm: Alarm }) {
  if (alarm.engines.length === 0) return null;
  return (
    <span class="alarm-ranks">
      {alarm.engines.slice(0, NAMED).map((rank) => (
        <Button key={rank} look="small" onClick={set(selected, rank)}>
          rank {rank}
        </Button>
      ))}
      {alarm.engines.length > NAMED && <span>and {alarm.engines.length - NAMED} more</span>}
    </span>
  );
}

interface Shown {
  alarm: Alarm;
  elapsed: number;
}

function Since({ alarm, elapsed, children }: Shown & { children: ComponentChildren }) {
  return (
    <span class="alarm-since">
      for {duration(alarm.age_s + elapsed)} <span>since {children}</span>
    </span>
  );
}

function Head({ alarm }: { alarm: Alarm }) {
  return (
    <>
      <Icon name={alarm.severity === "critical" ? "alarm" : "warn"} />
      <span class="alarm-severity">{alarm.severity}</span> <strong title={alarm.title}>{alarm.title}</strong>
    </>
  );
}

/** Each named rank with its numbers and who it is. */
function rankLine(rank: number): string {
  const row = rows.value[rank];
  const said = row === undefined ? "not known" : `${row.status}, ${rankWords(row)}`;
  return [`Rank ${rank}: ${said}`, place(rank)?.name, place(rank)?.why]
    .filter((part) => part != null)
    .join("; ");
}

function incident(alarm: Alarm, elapsed: number): string {
  const { snapshot } = view.value;
  const name = snapshot?.name ? `${snapshot.name}, ` : "";
  return incidentText({
    alarm,
    deployment: `${name}${location.host}${location.pathname}`,
    state: snapshot === null ? "not known" : `${snapshot.state}: ${snapshot.state_text}`,
    age: alarm.age_s + elapsed,
    ranks: alarm.engines.slice(0, 4 * NAMED).map(rankLine),
    log: present.value.log,
    link: linkTo(alarm.since),
  });
}

function Open(props: Shown) {
  const { alarm } = props;
  return (
    <article class={`alarm alarm-open alarm-${alarm.severity}`} data-alarm={alarm.kind} tabIndex={-1}>
      <p class="alarm-head">
        <Head alarm={alarm} />
      </p>
      <p class="alarm-text" title={`${alarm.remedy} ${alarm.meaning}`}>
        <b>What to do:</b> {alarm.remedy} <span class="alarm-meaning">{alarm.meaning}</span>
      </p>
      {/* Pressed by mouse its buttons leave the focus where it is, which unfolds the text: none moves away under it. */}
      <p class="alarm-tools" onMouseDown={(event) => event.preventDefault()}>
        <Since {...props}>
          <When at={alarm.since} />
        </Since>
        <Ranks alarm={alarm} />
        <span class="alarm-acts">
          <CopyButton
            label="Copy incident"
            what="this incident as Markdown"
            text={() => incident(alarm, props.elapsed)}
          />
          <Button look="small" onClick={set(chosen, { kind: alarm.kind, open: false })}>
            Fold
          </Button>
        </span>
      </p>
    </article>
  );
}

function Line(props: Shown) {
  const { alarm } = props;
  return (
    <li class={`alarm alarm-${alarm.severity}`} data-alarm={alarm.kind}>
      <button
        type="button"
        class="alarm-head"
        aria-expanded={false}
        title={READ}
        onClick={() => visit(alarm)}
      >
        <Head alarm={alarm} />
        <Since {...props}>{when(alarm.since)}</Since>
      </button>
    </li>
  );
}

export function Alarms() {
  const { snapshot, snapshotAt } = view.value;
  // A state that is not heard any more may have passed: the page says that it is disconnected, and greys the rest.
  const alarms = snapshot?.alarms ?? [];
  if (snapshot === null || alarms.length === 0) return null;
  const elapsed = connected.value || past.value !== null ? elapsedSince(snapshotAt, now.value) : 0;
  const open = openOf(alarms);
  const lines = alarms.filter((alarm) => alarm !== open);
  return (
    <section class="alarms" id="alarms" aria-label="Alarms">
      {open !== null && <Open alarm={open} elapsed={elapsed} />}
      {lines.length > 0 && (
        <ul>
          {lines.map((alarm) => (
            <Line key={alarm.kind} alarm={alarm} elapsed={elapsed} />
          ))}
          {open === null && (
            <li class="alarm-hint" aria-hidden="true">
              <kbd>a</kbd> {READ.toLowerCase()}
            </li>
          )}
        </ul>
      )}
    </section>
  );
}

/** Opens an alarm and leads the keyboard to the first rank that it names, or to itself. */
function visit(alarm: Alarm): void {
  chosen.value = { kind: alarm.kind, open: true };
  // Once it is drawn, and before the next key.
  queueMicrotask(() => {
    const found = document.querySelector<HTMLElement>(".alarm-open .alarm-ranks .button");
    (found ?? document.querySelector<HTMLElement>(".alarm-open"))?.focus();
  });
}

/** Leads to the alarm that is open, or to the first; and from one to the next. */
export function nextAlarm(): void {
  const alarms = view.value.snapshot?.alarms ?? [];
  const open = openOf(alarms);
  const inside = document.activeElement?.closest(".alarm-open") != null;
  const at = open === null ? 0 : alarms.indexOf(open) + (inside ? 1 : 0);
  const next = alarms[at % alarms.length];
  if (next !== undefined) visit(next);
}

/** Said to screen readers when alarms come and go, and only then. */
export function alarmWords(alarms: readonly Alarm[]): string {
  return alarms.map((alarm) => `${alarm.severity}: ${alarm.title}`).join(". ");
}
