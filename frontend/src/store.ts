// What the page knows, as one immutable value, and how each message changes it. No clock, no DOM, no socket.
import {
  type EventMessage,
  type Hello,
  PROTOCOL,
  type SnapshotMessage,
  type StreamMessage,
  type WaveInfo,
} from "./types.gen";

/** Entries of the event log that the page keeps: as many as the server does. */
export const LOG_SIZE = 4096;

/** Waves of earlier incarnations that the page keeps. */
export const EARLIER_WAVES = 20;

/** A line in the log that is no event of the coordinator: something about the log itself. */
export interface Marker {
  type: "marker";
  /** Tells it from the other entries. */
  key: string;
  kind: "gap" | "restarted";
  text: string;
  at: number;
}

export type LogEntry = EventMessage | Marker;

export interface Live {
  /** Coordinator processes that this page has met, less one: numbers of one mean nothing in another. */
  incarnation: number;
  hello: Hello | null;
  /** Local monotonic milliseconds at which `hello` arrived. */
  helloAt: number;
  snapshot: SnapshotMessage | null;
  /** Local monotonic milliseconds at which `snapshot` arrived: its ages grow from there. */
  snapshotAt: number;
  /** Local monotonic milliseconds at which the last message of any kind arrived. */
  heardAt: number;
  /** Waves of the processes before this one, newest first, as they were last heard of; at most EARLIER_WAVES. */
  earlier: readonly WaveInfo[];
  /** Oldest first, at most LOG_SIZE; a marker stands between two processes. */
  log: readonly LogEntry[];
  /** Number of the last event seen: what `?since=` resumes from. */
  lastSeq: number;
  /** Messages that were malformed or of an unknown type. */
  ignored: number;
  /** The server speaks another protocol: the page must be loaded again. */
  outdated: boolean;
  /** The event numbers began again and the start of the new list was not sent: reconnect with since=0. */
  mustReplay: boolean;
}

export const EMPTY: Live = {
  incarnation: 0,
  hello: null,
  helloAt: 0,
  snapshot: null,
  snapshotAt: 0,
  heardAt: 0,
  earlier: [],
  log: [],
  lastSeq: 0,
  ignored: 0,
  outdated: false,
  mustReplay: false,
};

/** A message with the local monotonic milliseconds of its arrival; null stands for one that was not understood. */
export interface Arrival {
  message: StreamMessage | null;
  at: number;
}

/**
 * Whether two hellos come from the same coordinator process: it started at the same time, or (its wall clock was set
 * meanwhile, which moves `started_at`) it has run on for as long as passed here. `elapsed` is in seconds.
 */
export function sameProcess(a: Hello, b: Hello, elapsed: number): boolean {
  if (Math.abs(a.started_at - b.started_at) < 0.002) return true;
  const grown = b.now - b.started_at - (a.now - a.started_at);
  return Math.abs(grown - elapsed) < 0.5;
}

/** Comings and goings, and what strangers send: they are many, and are not to push out waves and alarms. */
const MANY = new Set(["engines", "front-ends", "frames"]);

function bounded(log: LogEntry[]): LogEntry[] {
  if (log.length <= LOG_SIZE) return log;
  const isMany = (entry: LogEntry) => entry.type === "event" && MANY.has(entry.group);
  let over = Math.min(log.length - LOG_SIZE, log.filter(isMany).length - LOG_SIZE / 2);
  const kept = log.filter((entry) => {
    if (over <= 0 || !isMany(entry)) return true;
    over -= 1;
    return false;
  });
  return kept.length > LOG_SIZE ? kept.slice(kept.length - LOG_SIZE) : kept;
}

/** A wave whose coordinator has gone: whether and when it ended is not heard any more. */
const cutOff = (wave: WaveInfo): WaveInfo => (wave.open ? { ...wave, open: false, duration_s: null } : wave);

function onHello(live: Live, hello: Hello, at: number): Live {
  if (hello.protocol !== PROTOCOL) return { ...live, outdated: true };
  const known = { ...live, hello, helloAt: at, outdated: false, mustReplay: false };
  if (live.hello === null || sameProcess(live.hello, hello, (at - live.helloAt) / 1000)) return known;
  if (live.snapshot?.recording) {
    // Another place in a recording was gone to: its log begins anew, nothing was restarted.
    const anew = {
      ...known,
      incarnation: live.incarnation + 1,
      snapshot: null,
      earlier: [],
      log: [],
      lastSeq: 0,
    };
    return { ...anew, mustReplay: hello.replay_from > 1 };
  }
  const marker: Marker = {
    type: "marker",
    key: `restarted-${hello.started_at}`,
    kind: "restarted",
    text: "Coordinator restarted: older entries are of its earlier incarnation",
    at: hello.started_at,
  };
  return {
    ...known,
    incarnation: live.incarnation + 1,
    // What the old process said of the present means nothing any more; what it said of the past is kept as such.
    snapshot: null,
    earlier: [...(live.snapshot?.waves ?? []).map(cutOff), ...live.earlier].slice(0, EARLIER_WAVES),
    log: bounded([...live.log, marker]),
    lastSeq: 0,
    mustReplay: hello.replay_from > 1,
  };
}

function gapMarker(first: number, last: number, at: number): Marker {
  const text =
    first === last
      ? `Event ${first} is no longer held`
      : `Events ${first}–${last} are no longer held (${last - first + 1} missing)`;
  return { type: "marker", key: `gap-${first}-${last}`, kind: "gap", text, at };
}

/** The newest wall-clock time that the log knows; what a gap, which carries no time, is filed under. */
function lastAt(live: Live): number {
  return live.log.at(-1)?.at ?? live.snapshot?.at ?? live.hello?.now ?? 0;
}

/** Applies a batch in order. The log is copied once per batch, however many events are in it. */
export function applyAll(live: Live, arrivals: readonly Arrival[]): Live {
  let next = live;
  let log: LogEntry[] | null = null;
  const append = (entry: LogEntry) => {
    log ??= [...next.log];
    log.push(entry);
  };
  /** Takes out what the newest event was told with before: it is told anew, with one more in it. */
  const replace = (first: number) => {
    log ??= [...next.log];
    const at = log.findLastIndex((entry) => entry.type === "event" && entry.first_seq <= first);
    const found = log[at];
    if (found?.type === "event" && found.first_seq === first) log.splice(at, 1);
  };
  const settle = () => {
    if (log !== null) next = { ...next, log: bounded(log) };
    log = null;
  };
  for (const { message, at } of arrivals) {
    if (message === null) {
      next = { ...next, ignored: next.ignored + 1, heardAt: at };
      continue;
    }
    next = { ...next, heardAt: at };
    // What another protocol means by a snapshot is anyone's guess: the last state that was understood stays.
    if (next.outdated && message.type !== "hello") continue;
    switch (message.type) {
      case "hello":
        settle();
        next = onHello(next, message, at);
        break;
      case "snapshot":
        next = { ...next, snapshot: message, snapshotAt: at };
        break;
      case "event":
        // A number seen before is a replayed one; numbers that were jumped are shown as missing.
        if (message.seq <= next.lastSeq) break;
        if (next.lastSeq > 0 && message.first_seq > next.lastSeq + 1) {
          append(gapMarker(next.lastSeq + 1, message.first_seq - 1, message.at));
        }
        if (message.first_seq <= next.lastSeq) replace(message.first_seq);
        append(message);
        next = { ...next, lastSeq: message.seq };
        break;
      case "gap":
        if (message.last <= next.lastSeq) break;
        if (!message.thinned) append(gapMarker(message.first, message.last, lastAt(next)));
        next = { ...next, lastSeq: message.last };
        break;
    }
  }
  settle();
  return next;
}
