// The log as lines that can be read: what comes again and again is one line with a count. Pure.
import type { LogEntry } from "./store";

export interface LogLine {
  /** The newest of those that it stands for. */
  entry: LogEntry;
  times: number;
  /** When the first of them was, in Unix seconds. */
  first: number;
}

/** Comings and goings: of these a kind is one line however the words differ; of others only the same words are. */
const ALIKE = new Set(["engines", "front-ends", "frames"]);
/** Further apart in time, or with more lines between, they are told apart. */
const NEAR_S = 60;
const NEAR_LINES = 6;

function key(entry: LogEntry): string {
  if (entry.type === "marker") return entry.key;
  return ALIKE.has(entry.group)
    ? `${entry.kind} ${entry.fields.channel ?? ""}`
    : `${entry.kind} ${entry.text}`;
}

/** Oldest first, as the entries are. */
export function folded(entries: readonly LogEntry[]): LogLine[] {
  const lines: (LogLine & { key: string })[] = [];
  for (const entry of entries) {
    const own = key(entry);
    const from = Math.max(0, lines.length - NEAR_LINES);
    let i = lines.length - 1;
    while (i >= from && lines[i]?.key !== own) i--;
    const like = i >= from ? lines[i] : undefined;
    if (like !== undefined && entry.at - like.entry.at <= NEAR_S) {
      lines.splice(i, 1);
      lines.push({ ...like, entry, times: like.times + 1 });
    } else {
      lines.push({ entry, times: 1, first: entry.at, key: own });
    }
  }
  return lines;
}
