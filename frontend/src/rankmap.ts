// What the rank × time map shows, without its canvas: which states stand in which column, and the level of each row.
import type { PackedState } from "./packed";
import { badness, type ColourBy, levelOf, UNSEEN } from "./scale";
import type { EngineStatus } from "./types.gen";

const NONE = -0x80000000;

/** For each column the states from `first` to before `end` that stand in it; none where nothing was seen. */
export interface Columns {
  first: Int32Array;
  end: Int32Array;
}

/**
 * `states` ascend. A state stands where it was told, and on until the next, but no longer than `holds` seconds: after that
 * nothing was seen. Nor was it between two incarnations: a coordinator that is heard says something every second.
 */
export function placeStates(
  states: readonly PackedState[],
  from: number,
  to: number,
  count: number,
  holds: number,
): Columns {
  const first = new Int32Array(count);
  const end = new Int32Array(count);
  const wide = (to - from) / count;
  let next = 0;
  for (let column = 0; column < count; column++) {
    const [left, right] = [from + column * wide, from + (column + 1) * wide];
    while ((states[next]?.at ?? right) < left) next += 1;
    let last = next;
    while ((states[last]?.at ?? right) < right) last += 1;
    const [before, after] = [states[next - 1], states[next]];
    const stands = before?.incarnation === (after ?? before)?.incarnation ? holds : Math.min(1, holds);
    if (last > next) [first[column], end[column]] = [next, last];
    else if (before !== undefined && left - before.at <= stands)
      [first[column], end[column]] = [next - 1, next];
    next = last;
  }
  return { first, end };
}

export interface Look {
  by: ColourBy;
  full: number;
  rows: number;
}

/** Of so many ranks how many share a row, where there is room for `most` rows. */
export const ranksARow = (ranks: number, most: number) => Math.max(1, Math.ceil(ranks / Math.max(1, most)));

const cache = new WeakMap<PackedState, { key: string; levels: Uint8Array }>();

/** The level of each row in one state: of the ranks that share it, that of the worst. */
export function levelsOf(state: PackedState, { by, full, rows }: Look): Uint8Array {
  const key = `${by} ${full} ${rows}`;
  const known = cache.get(state);
  if (known?.key === key) return known.levels;
  const levels = new Uint8Array(rows);
  const ranks = state.packed.waiting.length;
  const each = ranksARow(ranks, rows);
  const worse = badness(by);
  const { mean } = peaksOf(state);
  const statuses = statusesOf(state);
  for (let rank = 0; rank < ranks; rank++) {
    const row = Math.floor(rank / each);
    const level = levelOf(by, valuesOf(state, rank, statuses[rank] ?? state.status.most), full, mean);
    const now = levels[row] ?? 0;
    if ((worse[level] ?? 0) > (worse[now] ?? 0)) levels[row] = level;
  }
  cache.set(state, { key, levels });
  return levels;
}

const orNull = (value: number | undefined) => (value === undefined || value === NONE ? null : value);

/** What one rank had. */
export function valuesOf({ packed }: PackedState, rank: number, status: EngineStatus) {
  return {
    status,
    waiting: orNull(packed.waiting[rank]),
    running: orNull(packed.running[rank]),
    kv: orNull(packed.kv_cache_usage[rank]),
  };
}

/** The statuses that are not the most common one, by rank. */
function statusesOf({ status }: PackedState): (EngineStatus | undefined)[] {
  const out: (EngineStatus | undefined)[] = [];
  for (const [name, ranks] of Object.entries(status.others)) {
    for (const rank of ranks) out[rank] = name as EngineStatus;
  }
  return out;
}

export function statusOf({ status }: PackedState, rank: number): EngineStatus {
  const found = Object.entries(status.others).find(([, ranks]) => ranks.includes(rank));
  return (found?.[0] as EngineStatus | undefined) ?? status.most;
}

interface Peaks {
  /** Of the requests, and of those that wait. */
  most: number;
  waiting: number;
  mean: number;
  meanWaiting: number;
}

const peaks = new WeakMap<PackedState, Peaks>();

/** The largest and the mean counts of the ranks that have reported. */
export function peaksOf(state: PackedState): Peaks {
  const known = peaks.get(state);
  if (known !== undefined) return known;
  let [most, waiting, sum, sumWaiting, count] = [0, 0, 0, 0, 0];
  const gone = new Set(state.status.others.gone ?? []);
  state.packed.waiting.forEach((_, rank) => {
    const w = orNull(state.packed.waiting[rank]);
    const r = orNull(state.packed.running[rank]);
    if ((w === null && r === null) || gone.has(rank)) return;
    const load = (w ?? 0) + (r ?? 0);
    most = Math.max(most, load);
    waiting = Math.max(waiting, w ?? 0);
    sum += load;
    sumWaiting += w ?? 0;
    count += 1;
  });
  const found = {
    most,
    waiting,
    mean: sum / Math.max(1, count),
    meanWaiting: sumWaiting / Math.max(1, count),
  };
  peaks.set(state, found);
  return found;
}

/** Where the scale of counts is to end so that no one rank makes all others look the same; before it is rounded. */
export function fullOf(states: readonly PackedState[], by: ColourBy): number {
  let [most, mean] = [0, 0];
  for (const state of states) {
    const p = peaksOf(state);
    most = Math.max(most, by === "waiting" ? p.waiting : p.most);
    mean = Math.max(mean, by === "waiting" ? p.meanWaiting : p.mean);
  }
  return Math.min(most, 3 * mean);
}

/** Fills `into` (a picture of `columns.first.length` times `rows` pixels) with the colour of each level. */
export function paintInto(
  into: Uint32Array,
  states: readonly PackedState[],
  { first, end }: Columns,
  look: Look,
  colours: Uint32Array,
): void {
  const wide = first.length;
  const worse = badness(look.by);
  let shown: Uint8Array | null = null;
  for (let column = 0; column < wide; column++) {
    const [a, b] = [first[column] ?? 0, end[column] ?? 0];
    const same = column > 0 && a === first[column - 1] && b === end[column - 1];
    if (!same) shown = a === b ? null : worst(states, a, b, look, worse);
    for (let row = 0; row < look.rows; row++) {
      into[row * wide + column] = shown === null ? 0 : (colours[shown[row] ?? UNSEEN] ?? 0);
    }
  }
}

function worst(
  states: readonly PackedState[],
  a: number,
  b: number,
  look: Look,
  worse: Uint8Array,
): Uint8Array {
  const only = levelsOf(states[a] as PackedState, look);
  if (b === a + 1) return only;
  const out = only.slice();
  for (let i = a + 1; i < b; i++) {
    const levels = levelsOf(states[i] as PackedState, look);
    for (let row = 0; row < out.length; row++) {
      const level = levels[row] ?? 0;
      if ((worse[level] ?? 0) > (worse[out[row] ?? 0] ?? 0)) out[row] = level;
    }
  }
  return out;
}

/** Of the ranks that share a row in a column the worst, and the state in which it is. */
export function worstAt(
  states: readonly PackedState[],
  { first, end }: Columns,
  column: number,
  row: number,
  look: Look,
): { state: PackedState; rank: number } | null {
  const worse = badness(look.by);
  let found: { state: PackedState; rank: number } | null = null;
  let most = -1;
  for (let i = first[column] ?? 0; i < (end[column] ?? 0); i++) {
    const state = states[i] as PackedState;
    const ranks = state.packed.waiting.length;
    const each = ranksARow(ranks, look.rows);
    for (let rank = row * each; rank < Math.min(ranks, (row + 1) * each); rank++) {
      const level = levelOf(
        look.by,
        valuesOf(state, rank, statusOf(state, rank)),
        look.full,
        peaksOf(state).mean,
      );
      if ((worse[level] ?? 0) > most) [most, found] = [worse[level] ?? 0, { state, rank }];
    }
  }
  return found;
}
