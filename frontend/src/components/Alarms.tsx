// What is wrong now, as the coordinator's doctor says it. The page works out no alarm by itself: one truth.
import { connected, now, past, view } from "../app";
import { selected } from "../choices";
import { duration, moment } from "../format";
import { elapsedSince } from "../rows";
import type { Alarm } from "../types.gen";
import { Button, Icon, set } from "./ui";

/** Ranks that are named by a button each. */
const NAMED = 8;

function Ranks({ alarm }: { alarm: Alarm }) {
  if (alarm.engines.length === 0) return null;
  const named = alarm.engines.slice(0, NAMED);
  return (
    <span class="alarm-ranks">
      {named.map((rank) => (
        <Button key={rank} look="small" onClick={set(selected, rank)}>
          rank {rank}
        </Button>
      ))}
      {alarm.engines.length > NAMED && <span>and {alarm.engines.length - NAMED} more</span>}
    </span>
  );
}

function Item({ alarm, elapsed, today }: { alarm: Alarm; elapsed: number; today: number }) {
  const critical = alarm.severity === "critical";
  return (
    <li class={`alarm alarm-${alarm.severity}`} data-alarm={alarm.kind}>
      <Icon name={critical ? "alarm" : "warn"} />
      <div>
        <p class="alarm-head">
          <span class="alarm-severity">{alarm.severity}</span> <strong>{alarm.title}</strong>
        </p>
        <p>
          {alarm.meaning} <b>What to do:</b> {alarm.remedy}
        </p>
        <Ranks alarm={alarm} />
      </div>
      <p class="alarm-since">
        for {duration(alarm.age_s + elapsed)}
        <span>since {moment(alarm.since, today)}</span>
      </p>
    </li>
  );
}

export function Alarms() {
  const { snapshot, snapshotAt } = view.value;
  // A state that is not heard any more may have passed: the page says that it is disconnected, and greys the rest.
  const alarms = snapshot?.alarms ?? [];
  if (snapshot === null || alarms.length === 0) return null;
  const elapsed = connected.value || past.value !== null ? elapsedSince(snapshotAt, now.value) : 0;
  return (
    <section class="alarms" aria-label="Alarms">
      <ul>
        {alarms.map((alarm) => (
          <Item key={alarm.kind} alarm={alarm} elapsed={elapsed} today={snapshot.at} />
        ))}
      </ul>
    </section>
  );
}

/** Said to screen readers when alarms come and go, and only then. */
export function alarmWords(alarms: readonly Alarm[]): string {
  return alarms.map((alarm) => `${alarm.severity}: ${alarm.title}`).join(". ");
}
