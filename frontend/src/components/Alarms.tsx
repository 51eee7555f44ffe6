// What is wrong now, as the coordinator's doctor says it: a line each, and one of them open with its meaning and remedy.
// The page works out no alarm by itself: one truth.
import { signal } from "@preact/signals";
import { connected, now, past, view } from "../app";
import { selected } from "../choices";
import { duration, moment } from "../format";
import { elapsedSince } from "../rows";
import type { Alarm, AlarmKind } from "../types.gen";
import { Button, Icon, set } from "./ui";

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
  today: number;
}

function Since({ alarm, elapsed, today }: Shown) {
  return (
    <span class="alarm-since">
      for {duration(alarm.age_s + elapsed)} <span>since {moment(alarm.since, today)}</span>
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

function Open(props: Shown) {
  const { alarm } = props;
  return (
    <article class={`alarm alarm-open alarm-${alarm.severity}`} data-alarm={alarm.kind} tabIndex={-1}>
      <p class="alarm-head">
        <Head alarm={alarm} />
        <Since {...props} />
      </p>
      <p class="alarm-text" title={alarm.meaning}>
        <b>What to do:</b> {alarm.remedy} <span class="alarm-meaning">{alarm.meaning}</span>
      </p>
      <p class="alarm-tools">
        <Ranks alarm={alarm} />
        <Button look="small" onClick={set(chosen, { kind: alarm.kind, open: false })}>
          Fold
        </Button>
      </p>
    </article>
  );
}

function Line(props: Shown) {
  const { alarm } = props;
  const open = () => {
    chosen.value = { kind: alarm.kind, open: true };
    requestAnimationFrame(() => document.querySelector<HTMLElement>(".alarm-open")?.focus());
  };
  return (
    <li class={`alarm alarm-${alarm.severity}`} data-alarm={alarm.kind}>
      <button type="button" class="alarm-head" aria-expanded={false} title={READ} onClick={open}>
        <Head alarm={alarm} />
        <Since {...props} />
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
      {open !== null && <Open alarm={open} elapsed={elapsed} today={snapshot.at} />}
      {lines.length > 0 && (
        <ul>
          {lines.map((alarm) => (
            <Line key={alarm.kind} alarm={alarm} elapsed={elapsed} today={snapshot.at} />
          ))}
          {open === null && (
            <li class="alarm-hint" aria-hidden="true">
              <kbd>a</kbd> <kbd>Enter</kbd> {READ.toLowerCase()}
            </li>
          )}
        </ul>
      )}
    </section>
  );
}

/** Leads the keyboard to the worst alarm: to the first rank that it names, or to its line. */
export function focusAlarm(): void {
  const parts = [".alarm-ranks .button", ".alarms li button", ".alarm-tools .button"];
  const found = parts.map((part) => document.querySelector<HTMLElement>(part)).find((part) => part !== null);
  found?.focus();
}

/** Said to screen readers when alarms come and go, and only then. */
export function alarmWords(alarms: readonly Alarm[]): string {
  return alarms.map((alarm) => `${alarm.severity}: ${alarm.title}`).join(". ");
}
