// How fresh each number is, worked out on the page from ages that grow by themselves: a rank that falls silent turns
// stale without any message arriving.
import type { EngineStatus, SnapshotMessage } from "./types.gen";

export interface EngineRow {
  index: number;
  waiting: number | null;
  running: number | null;
  /** waiting + running; null when never reported. */
  load: number | null;
  kvCacheUsage: number | null;
  step: number | null;
  wave: number | null;
  /** Seconds since the last report, as of now. */
  age: number | null;
  restarts: number;
  status: EngineStatus | "unknown";
}

/** Seconds that have passed since the snapshot was received; never negative. */
export function elapsedSince(receivedAt: number, nowMs: number): number {
  return Math.max(0, nowMs - receivedAt) / 1000;
}

/**
 * Status of one rank. Silence is only telling while a wave runs, and only once the wave itself has run for longer
 * than `staleAfter`: a paused engine has nothing to say.
 */
export function engineStatus(
  age: number | null,
  enginesRunning: boolean,
  phaseAge: number,
  staleAfter: number,
): EngineStatus {
  if (age === null) return "never";
  return enginesRunning && age > staleAfter && phaseAge > staleAfter ? "stale" : "fresh";
}

/**
 * One row per rank with ages as of now. `connected` false makes every reported rank "unknown": nobody can say
 * whether it is silent when it is the page that cannot hear.
 */
export function engineRows(
  snapshot: SnapshotMessage,
  receivedAt: number,
  nowMs: number,
  staleAfter: number,
  connected: boolean,
): EngineRow[] {
  const elapsed = elapsedSince(receivedAt, nowMs);
  const columns = snapshot.engines;
  const phaseAge = snapshot.phase_age_s + elapsed;
  const running = snapshot.phase === "running" || (snapshot.phase === "starting" && snapshot.engines_running);
  return columns.restarts.map((restarts, index) => {
    const waiting = columns.waiting[index] ?? null;
    const active = columns.running[index] ?? null;
    const reportedAge = columns.age_s[index] ?? null;
    const age = reportedAge === null ? null : reportedAge + elapsed;
    const status = engineStatus(age, running, phaseAge, staleAfter);
    return {
      index,
      waiting,
      running: active,
      load: waiting === null && active === null ? null : (waiting ?? 0) + (active ?? 0),
      kvCacheUsage: columns.kv_cache_usage[index] ?? null,
      step: columns.step_counter[index] ?? null,
      wave: columns.current_wave[index] ?? null,
      age,
      restarts,
      status: connected || status === "never" ? status : "unknown",
    };
  });
}

/** Mean load over the ranks that have reported; null when none has. */
export function meanLoad(rows: readonly EngineRow[]): number | null {
  let sum = 0;
  let count = 0;
  for (const row of rows) {
    if (row.load === null) continue;
    sum += row.load;
    count += 1;
  }
  return count === 0 ? null : sum / count;
}
