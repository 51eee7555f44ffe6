// The state of every rank at one moment, in few bytes: an hour of such states is kept.
import type { EngineColumnsMessage, SnapshotMessage } from "./types.gen";

/** Columns that seldom change: states that were told the same share one list. */
const SHARED = ["restarts"] as const;
type Shared = (typeof SHARED)[number];
/** What is kept as it was told: of each rank a word, or who told of it, and most have the same. */
type Kept = "status" | "provenance";

/** All others, and what each is kept in. Every column of the message stands in one of the three lists. */
const PACKED: Record<
  Exclude<keyof EngineColumnsMessage, Shared | Kept>,
  new (
    ranks: number,
  ) => PackedColumn
> = {
  waiting: Int32Array,
  running: Int32Array,
  kv_cache_usage: Float32Array,
  step_counter: Int32Array,
  current_wave: Int32Array,
  age_s: Float32Array,
};
type PackedColumn = Int32Array | Float32Array;
type Name = keyof typeof PACKED;
const NAMES = Object.keys(PACKED) as Name[];

/** Stands for null in a packed column. */
const NONE = -0x80000000;

/** What a state takes: for each rank, and besides. */
export const RANK_BYTES = 4 * NAMES.length;
export const REST_BYTES = 2200;

export interface PackedState {
  at: number;
  /** Which coordinator process said it; see Live.incarnation. */
  incarnation: number;
  rest: Omit<SnapshotMessage, "engines" | "waves">;
  /** The newest wave as it stood then; older ones had ended. */
  wave: SnapshotMessage["waves"][0] | null;
  packed: Record<Name, PackedColumn>;
  shared: Pick<EngineColumnsMessage, Shared>;
  status: EngineColumnsMessage["status"];
  provenance: EngineColumnsMessage["provenance"];
}

/** `before` is the state before this one, if there is any. */
export function pack(message: SnapshotMessage, incarnation: number, before?: PackedState): PackedState {
  const { engines, waves, ...rest } = message;
  const packed = {} as PackedState["packed"];
  for (const name of NAMES) {
    const values = engines[name];
    const column = new PACKED[name](values.length);
    for (let i = 0; i < values.length; i++) column[i] = values[i] ?? NONE;
    packed[name] = column;
  }
  const shared = { ...before?.shared } as PackedState["shared"];
  for (const name of SHARED) if (!same(engines[name], shared[name])) shared[name] = engines[name];
  return {
    at: message.at,
    incarnation,
    rest,
    wave: waves[0] ?? null,
    packed,
    shared,
    status: engines.status,
    provenance: engines.provenance,
  };
}

const same = (a: readonly unknown[], b: readonly unknown[] | undefined) =>
  a.length === b?.length && a.every((value, i) => value === b[i]);

/** The columns as they were in the message. */
export function columnsOf({ packed, shared, status, provenance }: PackedState): EngineColumnsMessage {
  return {
    ...unpacked((name) => Array.from(packed[name], (value) => (value === NONE ? null : value))),
    ...shared,
    status,
    provenance,
  };
}

/** The columns of ranks of which nothing is known. */
export function noColumns(ranks: number): EngineColumnsMessage {
  const none = Array.from({ length: ranks }, () => null);
  return {
    ...unpacked(() => none),
    restarts: none.map(() => 0),
    status: { most: "never", others: {} },
    provenance: { most: null, others: {}, nobody: none.map((_, rank) => rank) },
  };
}

function unpacked(column: (name: Name) => (number | null)[]): Pick<EngineColumnsMessage, Name> {
  return Object.fromEntries(NAMES.map((name) => [name, column(name)])) as Pick<EngineColumnsMessage, Name>;
}

/** waiting + running of one rank; null when it had not reported. */
export function loadOf({ packed }: PackedState, rank: number): number | null {
  const [waiting, running] = [packed.waiting[rank] ?? NONE, packed.running[rank] ?? NONE];
  if (waiting === NONE && running === NONE) return null;
  return (waiting === NONE ? 0 : waiting) + (running === NONE ? 0 : running);
}
