// The last hour, as it was heard or fetched, in bounded memory: totals 10 times a second for the last minute and once a
// second (the peaks) before; with some of them the state of every rank, as many as there is room for; and the waves.
import { type PackedState, pack, RANK_BYTES, REST_BYTES } from "./packed";
import { joinSpreads, type Spread, spreadOf } from "./spread";
import type { DeploymentState, History, SnapshotMessage, WaveInfo } from "./types.gen";

const FINE_S = 60;
const KEEP_S = 3600;
/** Samples further apart than this have a gap between them: the line breaks. */
export const GAP_S = 3;
/** Moments this near are taken for the same: there are ten a second. */
const NEAR_S = 0.05;
/** What all packed states take together, about. Many ranks mean fewer states. */
const BYTES = 24e6;
/** Packed states are never further apart than this, however many ranks there are. */
const FAR_S = 120;
const BANDS_KEPT = 4000;

/** What the chart shows of a moment. */
export interface Moment {
  /** Unix seconds by the server's clock. */
  at: number;
  waiting: number | null;
  running: number | null;
  /** How the ranks lay apart; null where only totals are known. */
  spread: Spread | null;
}

export interface Sample extends Moment {
  word: DeploymentState;
  current_wave: number;
  front_ends: number;
  engines_subscribed: number;
  /** What every rank had reported, at this moment or later in the same second. */
  state: PackedState | null;
}

export interface Band {
  wave: number;
  start: number;
  /** null while the wave is open. */
  end: number | null;
  info: WaveInfo;
}

/** Seconds from one packed state to the next: of the last minute, and before. */
function intervals(ranks: number): [number, number] {
  const most = BYTES / (ranks * RANK_BYTES + REST_BYTES);
  // Whole seconds: the server keeps a state a second.
  return [Math.max(0.1, FINE_S / (most / 4)), Math.max(1, Math.floor(KEEP_S / ((most * 3) / 4)))];
}

/** Whether a state is as far from the one before it as it is to be. */
const isDue = (at: number, incarnation: number, before: PackedState | undefined, interval: number) =>
  before === undefined || before.incarnation !== incarnation || at - before.at > interval - NEAR_S;

/** Whether one state may be left out between two others. */
const isNeedless = (before: PackedState | undefined, after: PackedState | undefined) =>
  before !== undefined &&
  after?.incarnation === before.incarnation &&
  after.at - before.at < intervals(before.rest.engine_count)[1] + NEAR_S;

const sameState = (a: PackedState["rest"], b: PackedState["rest"]) =>
  a.state === b.state &&
  a.current_wave === b.current_wave &&
  a.engines_subscribed === b.engines_subscribed &&
  a.alarms.length === b.alarms.length;

const isSameSecond = (a: Sample, b: { at: number }) => Math.floor(a.at) === Math.floor(b.at);

const peak = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.max(a, b));

function sampleOf(message: SnapshotMessage, state: PackedState | null): Sample {
  const { at, totals, state: word, current_wave, front_ends, engines_subscribed } = message;
  const { waiting, running } = totals;
  const spread = spreadOf(message.engines);
  return { at, waiting, running, spread, word, current_wave, front_ends, engines_subscribed, state };
}

/** Index of the last of an ascending list that is not beyond `wanted`; -1 when all are. */
export function lastUpTo<T>(ascending: readonly T[], wanted: number, value: (item: T) => number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(ascending[middle] as T) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class Timeline {
  /** Oldest first. */
  private samples: Sample[] = [];
  /** Samples before this index are one a second. */
  private folded = 0;
  private waves = new Map<string, Band>();
  private incarnation = 0;

  get length(): number {
    return this.samples.length;
  }

  /** How many samples have the state of every rank. */
  get states(): number {
    return this.samples.filter(({ state }) => state !== null).length;
  }

  get newest(): number | null {
    return this.samples.at(-1)?.at ?? null;
  }

  get oldest(): number | null {
    return this.samples[0]?.at ?? null;
  }

  /** Nothing but "never reported" so far. */
  get empty(): boolean {
    return this.samples.every(({ running, waiting }) => running === null && waiting === null);
  }

  /** What is told from now on is of this coordinator process; wave numbers of one mean nothing in another. */
  begin(incarnation: number): void {
    if (incarnation === this.incarnation) return;
    // A wave that was open when its coordinator went away is known no further than the last sample.
    for (const band of this.waves.values()) band.end ??= this.newest ?? band.start;
    this.incarnation = incarnation;
  }

  push(message: SnapshotMessage): void {
    const { at } = message;
    if (at < (this.newest ?? at) - 1) this.dropFrom(at); // the server's clock was set back
    if (this.newest === null || at > this.newest) {
      const before = this.stateBefore(this.samples.length - 1);
      const [fine] = intervals(message.engine_count);
      // Between two states only what changes more than numbers counts.
      const due =
        before === undefined || isDue(at, this.incarnation, before, fine) || !sameState(before.rest, message);
      this.samples.push(sampleOf(message, due ? pack(message, this.incarnation, before) : null));
    }
    this.age(at);
    this.noteWaves(message.waves);
  }

  /** Waves of the present incarnation; a later word on a wave replaces an earlier one. */
  noteWaves(waves: readonly WaveInfo[]): void {
    for (const info of waves) {
      const start = info.asked_at ?? info.started_at;
      if (start === null) continue;
      const key = `${this.incarnation}/${info.number}`;
      const end = info.ended_at ?? (info.open ? null : start);
      this.waves.set(key, { wave: info.number, start, end, info });
      if (this.waves.size > BANDS_KEPT) this.waves.delete(this.waves.keys().next().value ?? key);
    }
  }

  /** Adds the server's totals where this page has none of its own. */
  merge(history: History): void {
    const { at, waiting, running, state: words, current_wave, front_ends, engines_subscribed } = history;
    const added: Sample[] = [];
    at.forEach((moment, k) => {
      const near = this.samples[this.indexAt(moment + NEAR_S)];
      if (near !== undefined && near.at >= moment - NEAR_S) return;
      added.push({
        at: moment,
        waiting: waiting[k] ?? null,
        running: running[k] ?? null,
        spread: null,
        word: words[k] ?? "paused",
        current_wave: current_wave[k] ?? 0,
        front_ends: front_ends[k] ?? 0,
        engines_subscribed: engines_subscribed[k] ?? 0,
        state: null,
      });
    });
    if (added.length === 0) return;
    this.samples = [...this.samples, ...added].sort((a, b) => a.at - b.at);
    this.folded = 0;
    this.age(this.newest ?? 0);
  }

  /** Fills holes with states that the server kept. */
  insert(messages: readonly SnapshotMessage[]): void {
    for (const message of messages) {
      const i = this.indexAt(message.at);
      const before = this.stateBefore(i, message.at);
      const [, coarse] = intervals(message.engine_count);
      if (!isDue(message.at, this.incarnation, before, coarse)) continue;
      const state = pack(message, this.incarnation, before);
      const near = this.samples[i];
      if (near !== undefined && near.state === null && isSameSecond(near, message)) {
        near.state = state;
        near.spread = joinSpreads(near.spread, spreadOf(message.engines));
        continue;
      }
      this.samples.splice(i + 1, 0, sampleOf(message, state));
      if (i < this.folded) this.folded += 1;
    }
  }

  /** What is known from a moment on; one before it is there, too, so that a line enters from the left. */
  moments(from: number): readonly Sample[] {
    return this.samples.slice(Math.max(0, this.indexAt(from)));
  }

  /** The newest sample that is not after a moment (Unix seconds); null where there is a hole. */
  sampleAt(moment: number): Sample | null {
    const sample = this.samples[this.indexAt(moment)];
    return sample !== undefined && moment - sample.at <= GAP_S ? sample : null;
  }

  /** The newest state of all ranks that is not after a moment, if it still told the truth then. */
  stateAt(moment: number): PackedState | null {
    const state = this.stateBefore(this.indexAt(moment), moment);
    if (state === undefined) return null;
    return moment - state.at <= this.holds(state.rest.engine_count) ? state : null;
  }

  /** For how many seconds a state holds when no other follows: a coordinator that is heard says something every second. */
  holds(ranks: number): number {
    return Math.max(GAP_S, 1.5 * intervals(ranks)[1]);
  }

  /** The states of all ranks between two moments, oldest first, and the one before them. */
  statesBetween(from: number, to: number): PackedState[] {
    const out: PackedState[] = [];
    const first = this.indexAt(from);
    const before = this.stateBefore(first, from);
    if (before !== undefined) out.push(before);
    for (let i = Math.max(0, first); i < this.samples.length; i++) {
      const { at, state } = this.samples[i] as Sample;
      if (at > to) break;
      if (state !== null && state !== before && state.at >= from) out.push(state);
    }
    return out;
  }

  /** For how many seconds the deployment's state had been what it was at a moment, as far back as the samples go. */
  stateAge(moment: number): number {
    const last = this.indexAt(moment);
    let first = last;
    while (first > 0 && this.samples[first - 1]?.word === this.samples[last]?.word) first -= 1;
    return moment - (this.samples[first]?.at ?? moment);
  }

  /** The most that waited and that ran between two moments. */
  peaks(from: number, to: number): [number, number] {
    const inside = this.samples.filter((sample) => sample.at >= from && sample.at <= to);
    return [
      inside.reduce((most, sample) => Math.max(most, sample.waiting ?? 0), 0),
      inside.reduce((most, sample) => Math.max(most, sample.running ?? 0), 0),
    ];
  }

  /** Waves that overlap [from, to]. */
  bands(from: number, to: number): Band[] {
    return [...this.waves.values()].filter(({ start, end }) => start <= to && (end === null || end >= from));
  }

  private indexAt(moment: number): number {
    return lastUpTo(this.samples, moment, (sample) => sample.at);
  }

  /** The newest state in the samples up to an index, and not after a moment. */
  private stateBefore(index: number, moment = Number.POSITIVE_INFINITY): PackedState | undefined {
    const from = (this.samples[index]?.at ?? 0) - FAR_S;
    for (let i = index; i >= 0; i--) {
      const { at, state } = this.samples[i] as Sample;
      if (state !== null && state.at <= moment) return state;
      if (at < from) break;
    }
    return undefined;
  }

  private dropFrom(at: number): void {
    this.samples = this.samples.filter((sample) => sample.at < at);
    this.folded = Math.min(this.folded, this.samples.length);
  }

  /** Folds what is older than a minute into one sample per second, and forgets what is older than an hour. */
  private age(now: number): void {
    const count = this.indexAt(now - FINE_S) + 1 - this.folded;
    if (count > 0) this.fold(count);
    const old = this.indexAt(now - KEEP_S) + 1;
    this.samples.splice(0, old);
    this.folded -= old;
    for (const [key, { end }] of this.waves) if (end !== null && end < now - KEEP_S) this.waves.delete(key);
  }

  private fold(count: number): void {
    this.thinStates(count);
    let last = this.samples[this.folded - 1];
    const kept: Sample[] = [];
    for (const sample of this.samples.splice(this.folded, count)) {
      if (
        last !== undefined &&
        isSameSecond(last, sample) &&
        (last.state === null || sample.state === null)
      ) {
        last.waiting = peak(last.waiting, sample.waiting);
        last.running = peak(last.running, sample.running);
        last.spread = joinSpreads(last.spread, sample.spread);
        last.state ??= sample.state;
      } else {
        kept.push(sample);
        last = sample;
      }
    }
    this.samples.splice(this.folded, 0, ...kept);
    this.folded += kept.length;
  }

  private thinStates(count: number): void {
    let before = this.stateBefore(this.folded - 1);
    for (const sample of this.samples.slice(this.folded, this.folded + count)) {
      if (sample.state === null) continue;
      if (isNeedless(before, this.stateAfter(sample.state.at))) sample.state = null;
      else before = sample.state;
    }
  }

  private stateAfter(moment: number): PackedState | undefined {
    for (let i = this.indexAt(moment) + 1; i < this.samples.length; i++) {
      const { state } = this.samples[i] as Sample;
      if (state !== null) return state;
    }
    return undefined;
  }
}
