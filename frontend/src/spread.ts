// How the ranks of one moment lie apart, in a few numbers: what the chart shows of them over time.
import type { EngineColumnsMessage } from "./types.gen";

/** Of the ranks that have reported and are not gone. */
export interface Spread {
  min: number;
  median: number;
  p95: number;
  max: number;
  mean: number;
  /** The highest KV-cache usage, as a part of 1; null when no rank told it. */
  kv: number | null;
}

/** The smallest value that at least `part` of an ascending list is not above. */
export function quantile(ascending: ArrayLike<number>, part: number): number {
  return ascending[Math.max(0, Math.ceil(part * ascending.length) - 1)] ?? 0;
}

/** Null when no rank has reported. */
export function spreadOf({ waiting, running, kv_cache_usage, status }: EngineColumnsMessage): Spread | null {
  const gone = new Set(status.others.gone ?? []);
  const loads = new Float64Array(waiting.length);
  let [count, sum] = [0, 0];
  let kv: number | null = null;
  for (let rank = 0; rank < waiting.length; rank++) {
    const [w, r, k] = [waiting[rank] ?? null, running[rank] ?? null, kv_cache_usage[rank] ?? null];
    if (gone.has(rank)) continue;
    if (k !== null) kv = Math.max(kv ?? 0, k);
    if (w === null && r === null) continue;
    const load = (w ?? 0) + (r ?? 0);
    loads[count] = load;
    sum += load;
    count += 1;
  }
  if (count === 0) return null;
  const told = loads.subarray(0, count).sort();
  return {
    min: told[0] ?? 0,
    median: quantile(told, 0.5),
    p95: quantile(told, 0.95),
    max: told[count - 1] ?? 0,
    mean: sum / count,
    kv,
  };
}

/** Two moments of one second as one: the extremes of both, so that a short peak stays in sight. */
export function joinSpreads(a: Spread | null, b: Spread | null): Spread | null {
  if (a === null || b === null) return a ?? b;
  const [calm, uneven] = imbalance(a) > imbalance(b) ? [b, a] : [a, b];
  return {
    min: Math.min(a.min, b.min),
    median: Math.max(a.median, b.median),
    p95: Math.max(a.p95, b.p95),
    max: Math.max(a.max, b.max),
    // So that the larger of the two imbalances is what comes out.
    mean:
      uneven.max >= calm.max ? uneven.mean : (Math.max(a.max, b.max) * uneven.mean) / Math.max(1, uneven.max),
    kv: a.kv === null ? b.kv : b.kv === null ? a.kv : Math.max(a.kv, b.kv),
  };
}

/** How many times the mean the busiest rank has; 0 where there is nothing to be uneven. */
export const imbalance = ({ max, mean }: Spread) => (mean > 0 ? max / mean : 0);
