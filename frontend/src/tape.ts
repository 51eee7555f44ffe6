// What each rank reported, as this page has heard it or fetched it since: whole states of the last hour, in bounded memory.
import type { EngineColumnsMessage, SnapshotMessage, Statuses } from "./types.gen";

const FINE_S = 60;
const KEEP_S = 3600;
/** What all frames take together, about. Many ranks mean fewer frames. */
const BYTES = 24e6;
const RANK_BYTES = 24;
const REST_BYTES = 1500;

/** Stands for null in a column of integers. */
const NONE = -0x80000000;
const INTEGERS = ["waiting", "running", "step_counter", "current_wave"] as const;
const FRACTIONS = ["kv_cache_usage", "age_s"] as const;

type Rest = Omit<SnapshotMessage, "engines" | "waves">;

export interface Recorded {
  at: number;
  /** Which coordinator process said it; see Live.life. */
  life: number;
  rest: Rest;
  /** The newest wave as it stood then; older ones had ended. */
  wave: SnapshotMessage["waves"][0] | null;
  integers: Int32Array;
  fractions: Float32Array;
  status: Statuses;
  restarts: number[];
  stepping: number[];
}

const same = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((value, i) => value === b[i]);

const sameState = (a: Rest, b: Rest) =>
  a.phase === b.phase &&
  a.current_wave === b.current_wave &&
  a.engines_subscribed === b.engines_subscribed &&
  a.alarms.length === b.alarms.length;

export class Tape {
  /** Oldest first. */
  private frames: Recorded[] = [];
  /** Frames before this index have been thinned out. */
  private thinned = 0;

  get first(): number | null {
    return this.frames[0]?.at ?? null;
  }

  get length(): number {
    return this.frames.length;
  }

  /** Seconds between two frames: of the last minute, and before. */
  intervals(ranks: number): [number, number] {
    const most = BYTES / (ranks * RANK_BYTES + REST_BYTES);
    return [Math.max(0.09, FINE_S / (most / 4)), Math.max(1, KEEP_S / ((most * 3) / 4))];
  }

  push(message: SnapshotMessage, life: number): void {
    if (message.at < (this.frames.at(-1)?.at ?? 0) - 1) this.dropFrom(message.at); // the clock was set back
    const newest = this.frames.at(-1);
    const [fine] = this.intervals(message.engine_count);
    // Between two frames only what changes the state counts.
    if (newest?.life === life && message.at - newest.at < fine && sameState(newest.rest, message)) return;
    this.frames.push(record(message, life, newest));
    this.thin(message.at, message.engine_count);
  }

  /** Fills holes with states that the server kept. */
  insert(messages: readonly SnapshotMessage[], life: number): void {
    for (const message of messages) {
      const before = this.indexAt(message.at);
      const frame = this.frames[before];
      const [, coarse] = this.intervals(message.engine_count);
      if (frame !== undefined && message.at - frame.at < 0.9 * coarse) continue;
      this.frames.splice(before + 1, 0, record(message, life, frame));
      if (before < this.thinned) this.thinned += 1;
    }
  }

  /** The newest frame that is not after a moment (Unix seconds), if it still told the state then. */
  at(moment: number): Recorded | null {
    const i = this.indexAt(moment);
    const frame = this.frames[i];
    if (frame === undefined) return null;
    // A state holds until the next one; a coordinator that was heard says something every second.
    const [, coarse] = this.intervals(frame.rest.engine_count);
    return moment - frame.at <= Math.max(3, 1.5 * coarse) ? frame : null;
  }

  private indexAt(moment: number): number {
    let low = 0;
    let high = this.frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.frames[middle]?.at ?? 0) <= moment) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  private dropFrom(at: number): void {
    this.frames = this.frames.filter((frame) => frame.at < at);
    this.thinned = Math.min(this.thinned, this.frames.length);
  }

  private thin(now: number, ranks: number): void {
    const [, coarse] = this.intervals(ranks);
    while (this.thinned < this.frames.length) {
      const frame = this.frames[this.thinned];
      if (frame === undefined || frame.at >= now - FINE_S) break;
      const before = this.frames[this.thinned - 1];
      if (before !== undefined && before.life === frame.life && frame.at - before.at < coarse) {
        this.frames.splice(this.thinned, 1);
      } else {
        this.thinned += 1;
      }
    }
    const old = this.indexAt(now - KEEP_S);
    if (old > 0) {
      this.frames.splice(0, old);
      this.thinned -= old;
    }
  }
}

function record(message: SnapshotMessage, life: number, before: Recorded | undefined): Recorded {
  const { engines, waves, ...rest } = message;
  const n = engines.restarts.length;
  const integers = new Int32Array(INTEGERS.length * n);
  INTEGERS.forEach((name, k) => {
    for (let i = 0; i < n; i++) integers[k * n + i] = engines[name][i] ?? NONE;
  });
  const fractions = new Float32Array(FRACTIONS.length * n);
  FRACTIONS.forEach((name, k) => {
    for (let i = 0; i < n; i++) fractions[k * n + i] = engines[name][i] ?? Number.NaN;
  });
  const shared = (next: number[], last: number[] | undefined) => (last && same(next, last) ? last : next);
  return {
    at: message.at,
    life,
    rest,
    wave: waves[0] ?? null,
    integers,
    fractions,
    status: engines.status,
    restarts: shared(engines.restarts, before?.restarts),
    stepping: shared(engines.stepping, before?.stepping),
  };
}

/** The columns as they were in the message. */
export function columnsOf({
  integers,
  fractions,
  status,
  restarts,
  stepping,
}: Recorded): EngineColumnsMessage {
  const n = restarts.length;
  const integer = (k: number) =>
    Array.from(integers.subarray(k * n, (k + 1) * n), (value) => (value === NONE ? null : value));
  const fraction = (k: number) =>
    Array.from(fractions.subarray(k * n, (k + 1) * n), (value) => (Number.isNaN(value) ? null : value));
  return {
    waiting: integer(0),
    running: integer(1),
    step_counter: integer(2),
    current_wave: integer(3),
    kv_cache_usage: fraction(0),
    age_s: fraction(1),
    status,
    restarts,
    stepping,
  };
}

/** waiting + running of one rank in a frame; null when it had not reported. */
export function loadOf({ integers, restarts }: Recorded, rank: number): number | null {
  const n = restarts.length;
  const [waiting, running] = [integers[rank] ?? NONE, integers[n + rank] ?? NONE];
  if (rank >= n || (waiting === NONE && running === NONE)) return null;
  return (waiting === NONE ? 0 : waiting) + (running === NONE ? 0 : running);
}
