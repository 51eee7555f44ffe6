// The page as it was at a moment of the past, put together from what was heard then. What is not known is left out.
import { columnsOf, noColumns } from "./packed";
import type { Live } from "./store";
import type { Timeline } from "./timeline";
import type { Action, SnapshotMessage, StateHistory, WaveInfo } from "./types.gen";

/** Waves that are listed. */
const WAVES = 20;

/** all: the whole state; totals: those and the phase, of no rank anything; nothing: neither. */
export type Known = "all" | "totals" | "nothing";

export interface Past {
  live: Live;
  known: Known;
  /** The moment of the state that is shown: the newest known one that is not after the moment asked for. */
  at: number;
}

/** `moment` in Unix seconds of the server's clock. `present` lends what does not change: names, addresses, the log. */
export function pastAt(moment: number, present: Live, timeline: Timeline): Past {
  const state = timeline.stateAt(moment);
  const sample = timeline.sampleAt(moment);
  const like = present.snapshot;
  const at = state?.at ?? sample?.at ?? moment;
  const log = present.log.filter((entry) => entry.at <= at);
  const base: Live = { ...present, log, earlier: [], snapshotAt: 0, snapshot: null };
  const waves = wavesAt(at, timeline);
  if (state !== null) {
    const { rest, wave } = state;
    const shown = wave === null ? waves : [wave, ...waves.filter(({ number }) => number !== wave.number)];
    const snapshot: SnapshotMessage = { ...rest, engines: columnsOf(state), waves: shown };
    return { live: { ...base, snapshot }, known: "all", at };
  }
  if (sample === null || like === null) return { live: base, known: "nothing", at: moment };
  const { waiting, running, phase, current_wave, front_ends, engines_subscribed } = sample;
  const snapshot: SnapshotMessage = {
    ...like,
    at,
    phase,
    phase_word: phase,
    phase_text: "",
    current_wave,
    front_ends,
    engines_subscribed,
    data_age_s: 0,
    phase_age_s: timeline.phaseAge(at),
    asked_age_s: null,
    engines_running: phase === "running",
    totals: { waiting, running },
    engines: noColumns(like.engine_count),
    ready: true,
    waves,
    actions: actionsAt(at, like.actions),
    alarms: [],
    notices: [],
    recovery: null,
  };
  return { live: { ...base, snapshot }, known: "totals", at };
}

/** The states that the server kept, as the stream would have told them. Waves are known elsewhere. */
export function asMessages({ at, states }: StateHistory, like: SnapshotMessage): SnapshotMessage[] {
  return states.map((state, i) => {
    const moment = at[i] ?? 0;
    return {
      ...like,
      ...state,
      at: moment,
      data_age_s: 0,
      waves: [],
      actions: actionsAt(moment, like.actions),
    };
  });
}

/** Manual starts that had been asked for by then, with what had been seen of them. */
function actionsAt(moment: number, actions: readonly Action[]): Action[] {
  return actions
    .filter((action) => action.asked_at <= moment)
    .map((action) => {
      const age_s = moment - action.asked_at;
      if (action.took_s !== null && action.took_s <= age_s) return { ...action, age_s };
      const seen = action.seen.filter((rank) => rank.after_s <= age_s);
      const followed = new Set(seen.map((rank) => rank.engine_index));
      const silent = Array.from({ length: action.engine_count }, (_, i) => i).filter((i) => !followed.has(i));
      const summary = `${seen.length} of ${action.engine_count} ranks seen stepping so far`;
      return { ...action, age_s, seen, silent, state: "asked", collective: false, took_s: null, summary };
    });
}

/** Waves that had begun by then, newest first; one that had not ended is open, with the peaks it had until then. */
function wavesAt(moment: number, timeline: Timeline): WaveInfo[] {
  return timeline
    .bands(0, moment)
    .sort((a, b) => b.start - a.start)
    .slice(0, WAVES)
    .map(({ info, start, end }) => {
      if (end !== null && end <= moment) return info;
      const [peak_waiting, peak_running] = timeline.peaks(start, moment);
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
