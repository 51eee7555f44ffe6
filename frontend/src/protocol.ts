// Text frames of the stream -> typed messages. Anything that is not understood becomes null: the store counts it.
import {
  type EngineColumnsMessage,
  type Hello,
  isEventMessage,
  isGapMessage,
  isHello,
  isSnapshotChange,
  isSnapshotMessage,
  PROTOCOL,
  type StreamMessage,
} from "./types.gen";

/** One text frame -> its messages: one, or several events. Null for each that is malformed or of an unknown type. */
export function parseFrame(text: unknown): (StreamMessage | null)[] {
  if (typeof text !== "string") return [null];
  let x: unknown;
  try {
    x = JSON.parse(text);
  } catch {
    return [null];
  }
  return Array.isArray(x) && x.length > 0 ? x.map(toMessage) : [toMessage(x)];
}

function toMessage(x: unknown): StreamMessage | null {
  if (isSnapshotMessage(x)) return areEven(x.engines) ? x : null;
  if (isSnapshotChange(x)) return x;
  return isEventMessage(x) || isHello(x) || isGapMessage(x) || isForeignHello(x) ? x : null;
}

/** Every column has a value for each rank. */
export function areEven(columns: EngineColumnsMessage): boolean {
  const count = columns.restarts.length;
  return Object.values(columns).every((column) => !Array.isArray(column) || column.length === count);
}

/** A `hello` of any other protocol: enough of it to say "reload". */
function isForeignHello(x: unknown): x is Hello {
  const { type, protocol } = (x ?? {}) as Partial<Hello>;
  return type === "hello" && Number.isFinite(protocol) && protocol !== PROTOCOL;
}
