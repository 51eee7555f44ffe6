// What is shown of the event log, and what of it is marked on the chart. Its sentences are the coordinator's.
import type { Mark } from "./chart";
import type { LogEntry } from "./store";
import { isEventGroup } from "./types.gen";

const FAULTS = "faults";

/** What the log can be filtered by, besides single kinds. */
export const GROUPS: readonly string[] = [FAULTS, ...isEventGroup.values];

/** What of the log is marked on the load chart. */
export function marksOf(log: readonly LogEntry[]): Mark[] {
  const marks: Mark[] = [];
  for (const { kind, at } of log) {
    if (kind === "restarted") marks.push({ at, kind: "restart" });
    else if (kind === "alarm_raised") marks.push({ at, kind: "alarm" });
    else if (kind === "manual_start_asked") marks.push({ at, kind: "manual" });
  }
  return marks;
}

/** Whether an entry is shown under a filter: "" for all, a group's name, or one kind. Markers are always shown. */
export function matches(entry: LogEntry, filter: string): boolean {
  if (entry.type === "marker" || filter === "") return true;
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
