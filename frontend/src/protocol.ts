// Text frames of the stream -> typed messages. Anything that is not understood becomes null: the store counts it.
import type { EventMessage, GapMessage, Hello, SnapshotMessage, StreamMessage } from "./types.gen";

/** The protocol this page was built for; another number in `hello` means that the page is outdated. */
export const PROTOCOL = 1;

type Json = Record<string, unknown>;

const isNumber = (x: unknown): x is number => typeof x === "number" && Number.isFinite(x);
const isNumberOrNull = (x: unknown) => x === null || isNumber(x);
const isText = (x: unknown): x is string => typeof x === "string";
const isObject = (x: unknown): x is Json => typeof x === "object" && x !== null && !Array.isArray(x);
const isList = (x: unknown, item: (value: unknown) => boolean): x is unknown[] =>
  Array.isArray(x) && x.every(item);

const has = (x: Json, check: (value: unknown) => boolean, ...keys: string[]) =>
  keys.every((k) => check(x[k]));

const isPhase = (x: unknown) => x === "paused" || x === "starting" || x === "running";

function isWave(x: unknown): boolean {
  return (
    isObject(x) &&
    has(x, isNumber, "number", "peak_waiting", "peak_running") &&
    has(x, isNumberOrNull, "asked_at", "started_at", "ended_at", "duration_s", "cause_engine") &&
    isText(x.cause)
  );
}

const RECOVERY = ["resumed_wave", "resumed_at", "engines_back", "engines_expected"];

function isRecovery(x: unknown): boolean {
  if (x === null) return true;
  return isObject(x) && isText(x.phase) && has(x, isNumber, ...RECOVERY) && isNumberOrNull(x.finished_at);
}

function isAction(x: unknown): boolean {
  return (
    isObject(x) &&
    has(x, isText, "id", "reason", "caller", "state") &&
    has(x, isNumber, "wave", "asked_at", "age_s", "engine_count") &&
    isNumberOrNull(x.took_s) &&
    isList(x.silent, isNumber) &&
    isList(x.seen, (rank) => isObject(rank) && has(rank, isNumber, "engine_index", "after_s"))
  );
}

function isAlarm(x: unknown): boolean {
  return (
    isObject(x) &&
    has(x, isText, "kind", "severity", "title", "meaning", "remedy") &&
    has(x, isNumber, "since", "age_s") &&
    isList(x.engines, isNumber)
  );
}

function isPlayback(x: unknown): boolean {
  if (x == null) return true;
  return isObject(x) && isText(x.name) && has(x, isNumber, "at", "position_s", "duration_s", "speed");
}

const COLUMNS = ["waiting", "running", "kv_cache_usage", "step_counter", "current_wave", "age_s"];

function isColumns(x: unknown): boolean {
  if (!isObject(x)) return false;
  if (!isList(x.restarts, isNumber) || !isList(x.stepping, isNumber)) return false;
  const count = x.restarts.length;
  return COLUMNS.every((name) => {
    const column = x[name];
    return isList(column, isNumberOrNull) && column.length === count;
  });
}

function isSnapshot(x: Json): boolean {
  return (
    has(
      x,
      isNumber,
      "at",
      "data_age_s",
      "current_wave",
      "phase_age_s",
      "engine_count",
      "engines_subscribed",
      "front_ends",
      "restarts",
    ) &&
    isRecovery(x.recovery) &&
    isPlayback(x.recording) &&
    isPhase(x.phase) &&
    isNumberOrNull(x.asked_age_s) &&
    isText(x.dialect) &&
    (x.start_blocked === null || isText(x.start_blocked)) &&
    isObject(x.totals) &&
    has(x.totals, isNumberOrNull, "waiting", "running") &&
    isObject(x.endpoints) &&
    has(x.endpoints, isText, "front_publish", "back_output", "back_publish") &&
    isColumns(x.engines) &&
    isList(x.waves, isWave) &&
    isList(x.actions, isAction) &&
    isList(x.alarms, isAlarm)
  );
}

function isHello(x: Json): boolean {
  return (
    has(x, isNumber, "protocol", "started_at", "now", "last_seq", "replay_from", "stale_after_s") &&
    isText(x.version)
  );
}

/** A `hello` of any protocol: enough of it to say "reload". */
function isForeignHello(x: Json): boolean {
  return isNumber(x.protocol) && x.protocol !== PROTOCOL;
}

/** One text frame -> its messages: one, or several events. Null for each that is malformed or of an unknown type. */
export function parseFrame(text: unknown): (StreamMessage | null)[] {
  if (!isText(text)) return [null];
  let x: unknown;
  try {
    x = JSON.parse(text);
  } catch {
    return [null];
  }
  return Array.isArray(x) && x.length > 0 ? x.map(toMessage) : [toMessage(x)];
}

function toMessage(x: unknown): StreamMessage | null {
  if (!isObject(x)) return null;
  switch (x.type) {
    case "hello":
      return isForeignHello(x) || isHello(x) ? (x as unknown as Hello) : null;
    case "snapshot":
      return isSnapshot(x) ? (x as unknown as SnapshotMessage) : null;
    case "event":
      return has(x, isNumber, "seq", "at") && isText(x.kind) && isObject(x.fields)
        ? (x as unknown as EventMessage)
        : null;
    case "gap":
      return has(x, isNumber, "first", "last") ? (x as unknown as GapMessage) : null;
    default:
      return null;
  }
}
