// Totals over time for the chart, in bounded memory: 10 Hz for the last minute, 1 Hz (the peaks) for an hour.
import type { History, Phase, SnapshotMessage, WaveInfo } from "./types.gen";

const FINE_S = 60;
const KEEP_S = 3600;
/** Samples further apart than this have a gap between them: the line breaks. */
export const GAP_S = 3;
/** Samples of the page and the server this near are of one moment: there are ten a second. */
const SAME_S = 0.05;
const BANDS_KEPT = 4000;

/** What was so besides the load. */
interface State {
  phase: Phase;
  current_wave: number;
  front_ends: number;
  engines_subscribed: number;
}

export interface Sample {
  /** Unix seconds by the server's clock. */
  at: number;
  waiting: number | null;
  running: number | null;
  state?: State | undefined;
}

export interface Band {
  wave: number;
  start: number;
  /** null while the wave is open. */
  end: number | null;
  info: WaveInfo;
}

export type Columns = [number[], (number | null)[], (number | null)[]];

const peak = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.max(a, b));

function merged(into: Sample, other: Sample): Sample {
  return {
    at: into.at,
    waiting: peak(into.waiting, other.waiting),
    running: peak(into.running, other.running),
    state: into.state,
  };
}

export class LoadHistory {
  private coarse: Sample[] = [];
  private fine: Sample[] = [];
  private known = new Map<string, Band>();
  private epoch = "";

  /** Wave numbers belong to one coordinator process: `epoch` keeps those of a restarted one apart. */
  setEpoch(epoch: string): void {
    if (epoch === this.epoch) return;
    // A wave that was open when its coordinator went away is known no further than the last sample.
    for (const band of this.known.values()) band.end ??= this.newest ?? band.start;
    this.epoch = epoch;
  }

  get newest(): number | null {
    return this.fine.at(-1)?.at ?? this.coarse.at(-1)?.at ?? null;
  }

  get oldest(): number | null {
    return this.coarse[0]?.at ?? this.fine[0]?.at ?? null;
  }

  /** Nothing but "never reported" so far. */
  get empty(): boolean {
    return [...this.coarse, ...this.fine].every(
      (sample) => sample.running === null && sample.waiting === null,
    );
  }

  push(snapshot: SnapshotMessage): void {
    const at = snapshot.at;
    const newest = this.newest;
    if (newest !== null && at < newest - 1) this.dropAfter(at); // the server's clock was set back
    if (newest === null || at > newest || at < newest - 1) {
      const { phase, current_wave, front_ends, engines_subscribed } = snapshot;
      const state = { phase, current_wave, front_ends, engines_subscribed };
      this.fine.push({ at, waiting: snapshot.totals.waiting, running: snapshot.totals.running, state });
    }
    this.age(at);
    this.noteWaves(snapshot.waves);
  }

  /** Waves of the process that `setEpoch` named last; a later word on a wave replaces an earlier one. */
  noteWaves(waves: readonly WaveInfo[]): void {
    for (const wave of waves) {
      const start = wave.asked_at ?? wave.started_at;
      if (start === null) continue;
      const end = wave.ended_at ?? (wave.open ? null : start);
      this.note({ wave: wave.number, start, end, info: wave });
    }
  }

  /** Adds the server's past where this page has none of its own. */
  merge(history: History): void {
    const mine = [...this.coarse, ...this.fine];
    const added: Sample[] = [];
    let i = 0;
    history.at.forEach((at, k) => {
      while (i < mine.length && (mine[i]?.at ?? 0) < at - SAME_S) i += 1;
      const near = mine[i];
      if (near !== undefined && Math.abs(near.at - at) <= SAME_S) return;
      const state = {
        phase: history.phase[k] ?? "paused",
        current_wave: history.current_wave[k] ?? 0,
        front_ends: history.front_ends[k] ?? 0,
        engines_subscribed: history.engines_subscribed[k] ?? 0,
      };
      added.push({ at, waiting: history.waiting[k] ?? null, running: history.running[k] ?? null, state });
    });
    if (added.length > 0) {
      this.coarse = [];
      this.fine = [...mine, ...added].sort((a, b) => a.at - b.at);
      this.age(this.newest ?? 0);
    }
  }

  /** Columns for the chart from `from` on; one sample before it is kept so that the line enters from the left. */
  columns(from: number): Columns {
    const out: Columns = [[], [], []];
    let previous: Sample | null = null;
    const put = (at: number, waiting: number | null, running: number | null) => {
      out[0].push(at);
      out[1].push(waiting);
      out[2].push(running);
    };
    for (const samples of [this.coarse, this.fine]) {
      for (const sample of samples) {
        if (sample.at < from) {
          previous = sample;
          continue;
        }
        if (out[0].length === 0 && previous !== null) put(previous.at, previous.waiting, previous.running);
        if (previous !== null && sample.at - previous.at > GAP_S) put(previous.at + 0.001, null, null);
        put(sample.at, sample.waiting, sample.running);
        previous = sample;
      }
    }
    return out;
  }

  /** The newest sample that is not after a moment; null where there is a hole. */
  sampleAt(moment: number): Sample | null {
    const isOld = (sample: Sample) => sample.at <= moment;
    const sample = this.fine.findLast(isOld) ?? this.coarse.findLast(isOld);
    return sample !== undefined && moment - sample.at <= GAP_S ? sample : null;
  }

  /** For how many seconds the phase had been what it was at a moment, as far back as the samples go. */
  phaseAge(moment: number): number {
    const all = [...this.coarse, ...this.fine].filter((sample) => sample.at <= moment);
    const phase = all.at(-1)?.state?.phase;
    const since = all[all.findLastIndex((sample) => sample.state?.phase !== phase) + 1];
    return moment - (since?.at ?? moment);
  }

  /** The most that waited and that ran between two moments. */
  peaks(from: number, to: number): [number, number] {
    const inside = [...this.coarse, ...this.fine].filter((sample) => sample.at >= from && sample.at <= to);
    return [
      inside.reduce((most, sample) => Math.max(most, sample.waiting ?? 0), 0),
      inside.reduce((most, sample) => Math.max(most, sample.running ?? 0), 0),
    ];
  }

  /** Waves that overlap [from, to]. */
  bands(from: number, to: number): Band[] {
    const result: Band[] = [];
    for (const band of this.known.values()) {
      if (band.start <= to && (band.end === null || band.end >= from)) result.push(band);
    }
    return result;
  }

  private note(band: Band): void {
    const key = `${this.epoch}/${band.wave}`;
    this.known.set(key, band);
    if (this.known.size > BANDS_KEPT) this.known.delete(this.known.keys().next().value ?? key);
  }

  private dropAfter(at: number): void {
    this.coarse = this.coarse.filter((s) => s.at < at);
    this.fine = this.fine.filter((s) => s.at < at);
  }

  /** Folds what is older than a minute into one sample per second, and forgets what is older than an hour. */
  private age(now: number): void {
    let folded = 0;
    for (const sample of this.fine) {
      if (sample.at >= now - FINE_S) break;
      const last = this.coarse.at(-1);
      if (last !== undefined && Math.floor(last.at) === Math.floor(sample.at)) {
        this.coarse[this.coarse.length - 1] = merged(last, sample);
      } else {
        this.coarse.push(sample);
      }
      folded += 1;
    }
    if (folded > 0) this.fine.splice(0, folded);
    const oldest = this.coarse.findIndex((s) => s.at >= now - KEEP_S);
    if (oldest > 0) this.coarse.splice(0, oldest);
    for (const [key, band] of this.known) {
      if (band.end !== null && band.end < now - KEEP_S) this.known.delete(key);
    }
  }
}
