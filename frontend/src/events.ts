// What is shown of the event log, and what of it is marked on the chart. Its sentences are the coordinator's.
import type { Mark } from "./chart";
import type { LogEntry } from "./store";
import { type EventGroup, isEventGroup } from "./types.gen";

const FAULTS = "faults";

/** The filter that leaves nothing out; the one that is on at first leaves out what is routine. */
export const EVERYTHING = "all";

/** The group that is routine: each wave has its START, and says so itself. */
const ROUTINE: EventGroup = "START";

/** What the log can be filtered by, besides single kinds. */
export const GROUPS: readonly string[] = [FAULTS, ...isEventGroup.values];

/** Seconds from the beginning of what an alarm is about to the moment it was raised. */
function beganBefore(entry: LogEntry): number {
  const ago = entry.type === "marker" ? 0 : entry.fields.began_s_ago;
  return typeof ago === "number" ? ago : 0;
}

/** The ranks that an entry names. */
export function ranksOf(entry: LogEntry): number[] {
  if (entry.type === "marker") return [];
  const { engine, engines } = entry.fields;
  const named = Array.isArray(engines) ? engines : [engine];
  return named.filter((rank): rank is number => typeof rank === "number");
}

/** What of the log is marked on the load chart. */
export function marksOf(log: readonly LogEntry[]): Mark[] {
  const marks: Mark[] = [];
  for (const entry of log) {
    const { kind, at } = entry;
    if (kind === "restarted") marks.push({ at, kind: "restart", ranks: [] });
    else if (kind === "alarm_raised")
      marks.push({ at: at - beganBefore(entry), kind: "alarm", ranks: ranksOf(entry) });
    else if (kind === "manual_start_asked") marks.push({ at, kind: "manual", ranks: [] });
  }
  return marks;
}

/** Whether an entry is shown under a filter: "" for all but routine, a group's name, or one kind. Markers always are. */
export function matches(entry: LogEntry, filter: string): boolean {
  if (entry.type === "marker" || filter === EVERYTHING) return true;
  if (filter === "") return entry.group !== ROUTINE;
  if (filter === FAULTS) return entry.tone === "warn" || entry.tone === "bad";
  return entry.group === filter || entry.kind === filter;
}

/** The shown entries as JSON lines, oldest first, for a bug report or a colleague. */
export function asJson(entries: readonly LogEntry[]): string {
  const plain = entries.map((e) =>
    e.type === "marker"
      ? { marker: e.kind, at: e.at, text: e.text }
      : { seq: e.seq, at: e.at, kind: e.kind, ...e.fields },
  );
  return JSON.stringify(plain, null, 2);
}

/** The newest alarm that is over, if the log has one. */
export function lastCleared(log: readonly LogEntry[]): LogEntry | null {
  return log.findLast(({ kind }) => kind === "alarm_cleared") ?? null;
}
