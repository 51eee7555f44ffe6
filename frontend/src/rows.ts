// The engines as rows, with ages that grow by themselves. What each rank's status is the coordinator says.
import {
  type EngineStatus,
  isEngineStatus,
  type SnapshotMessage,
  type SourceKind,
  type Statuses,
} from "./types.gen";

export interface EngineRow {
  index: number;
  waiting: number | null;
  running: number | null;
  /** waiting + running; null when never reported, and for a rank that is gone. */
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

/** One row per rank with ages as of now. While nothing is heard, nobody can say whether a rank is silent. */
export function engineRows(
  snapshot: SnapshotMessage,
  receivedAt: number,
  nowMs: number,
  heard: boolean,
): EngineRow[] {
  const elapsed = elapsedSince(receivedAt, nowMs);
  const columns = snapshot.engines;
  const statuses = statusOfEach(columns.status, columns.restarts.length);
  return columns.restarts.map((restarts, index) => {
    const waiting = columns.waiting[index] ?? null;
    const active = columns.running[index] ?? null;
    const reportedAge = columns.age_s[index] ?? null;
    const status = statuses[index] ?? "never";
    const none = status === "gone" || (waiting === null && active === null);
    return {
      index,
      waiting,
      running: active,
      load: none ? null : (waiting ?? 0) + (active ?? 0),
      kvCacheUsage: columns.kv_cache_usage[index] ?? null,
      step: columns.step_counter[index] ?? null,
      wave: columns.current_wave[index] ?? null,
      age: reportedAge === null ? null : reportedAge + elapsed,
      restarts,
      status: heard || status === "never" ? status : "unknown",
    };
  });
}

/** Who told a rank's numbers: its engine, or a source in its place; null where nobody did. */
export function sourceOf({ provenance, age_s }: SnapshotMessage["engines"], rank: number): SourceKind | null {
  if ((age_s[rank] ?? null) === null || provenance?.nobody.includes(rank)) return null;
  const other = Object.entries(provenance?.others ?? {}).find(([, ranks]) => ranks.includes(rank));
  return (other?.[0] as SourceKind | undefined) ?? provenance?.most ?? "reports";
}

function statusOfEach({ most, others }: Statuses, count: number): EngineStatus[] {
  const statuses = new Array<EngineStatus>(count).fill(most);
  for (const [status, ranks] of Object.entries(others)) {
    if (isEngineStatus(status)) for (const rank of ranks) statuses[rank] = status;
  }
  return statuses;
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
