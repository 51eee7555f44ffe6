// The page as it was at a moment of the past, put together from what was heard then. What is not known is left out.
import type { LoadHistory } from "./history";
import type { Live } from "./store";
import { columnsOf, type Tape } from "./tape";
import type { EngineColumnsMessage, SnapshotMessage, WaveInfo } from "./types.gen";

/** Waves that are listed. */
const WAVES = 20;

/** all: the page heard it itself; totals: the server's history, without ranks; nothing: neither. */
export type Known = "all" | "totals" | "nothing";

export interface Past {
  live: Live;
  known: Known;
  /** Seconds from the state that is shown to the moment that was asked for. */
  behind: number;
}

/** `moment` in Unix seconds of the server's clock. `present` lends what does not change: names, addresses, the log. */
export function pastAt(moment: number, present: Live, tape: Tape, history: LoadHistory): Past {
  const log = present.log.filter((entry) => entry.at <= moment);
  const base: Live = { ...present, log, earlier: [], snapshotAt: 0, snapshot: null };
  const frame = tape.at(moment);
  if (frame !== null) {
    const known = wavesAt(moment, history).filter((wave) => wave.number !== frame.wave?.number);
    const waves = frame.wave === null ? known : [frame.wave, ...known];
    const snapshot: SnapshotMessage = { ...frame.rest, engines: columnsOf(frame), waves };
    return { live: { ...base, snapshot }, known: "all", behind: moment - frame.at };
  }
  const sample = history.sampleAt(moment);
  const like = present.snapshot;
  if (sample?.state === undefined || like === null) return { live: base, known: "nothing", behind: 0 };
  const { phase, current_wave, front_ends, engines_subscribed } = sample.state;
  const snapshot: SnapshotMessage = {
    ...like,
    at: sample.at,
    phase,
    current_wave,
    front_ends,
    engines_subscribed,
    data_age_s: 0,
    phase_age_s: history.phaseAge(sample.at),
    asked_age_s: null,
    engines_running: phase === "running",
    totals: { waiting: sample.waiting, running: sample.running },
    engines: noColumns(like.engine_count),
    ready: true,
    waves: wavesAt(moment, history),
    actions: [],
    alarms: [],
    recovery: null,
  };
  return { live: { ...base, snapshot }, known: "totals", behind: moment - sample.at };
}

function noColumns(ranks: number): EngineColumnsMessage {
  const none = Array.from({ length: ranks }, () => null);
  return {
    waiting: none,
    running: none,
    kv_cache_usage: none,
    step_counter: none,
    current_wave: none,
    age_s: none,
    restarts: none.map(() => 0),
    stepping: [],
  };
}

/** Waves that had begun by then, newest first; one that had not ended is open, with the peaks it had until then. */
function wavesAt(moment: number, history: LoadHistory): WaveInfo[] {
  return history
    .bands(0, moment)
    .sort((a, b) => b.start - a.start)
    .slice(0, WAVES)
    .map(({ info, start, end }) => {
      if (end !== null && end <= moment) return info;
      const [peak_waiting, peak_running] = history.peaks(start, moment);
      return {
        ...info,
        ended_at: null,
        open: true,
        completed: false,
        duration_s: moment - start,
        peak_waiting,
        peak_running,
      };
    });
}
