// Puts whole snapshots together again from what the stream says: one whole, then what each changes in the one before.
import { areEven } from "./protocol";
import {
  isSnapshotMessage,
  type SnapshotChange,
  type SnapshotMessage,
  type StreamMessage,
} from "./types.gen";

/** No column has more decimal places: sums are as exact as what was subtracted. */
const SCALE = 1000;

type Whole = Exclude<StreamMessage, SnapshotChange>;

export class Snapshots {
  private held: SnapshotMessage | null = null;

  /** The message itself, or the whole snapshot that a change makes; null for one that makes none; "missed" when the
   * snapshot that it changes was never heard. */
  take(message: StreamMessage | null): Whole | null | "missed" {
    if (message?.type === "change") {
      if (this.held?.number !== message.of) return "missed";
      this.held = changed(this.held, message);
      return this.held;
    }
    if (message?.type === "snapshot") this.held = message;
    return message;
  }
}

function changed(
  before: SnapshotMessage,
  { number, fields, engines }: SnapshotChange,
): SnapshotMessage | null {
  const columns: Record<string, unknown> = { ...before.engines };
  for (const [name, by] of Object.entries(engines)) {
    columns[name] = sums(columns[name], by);
  }
  const made = { ...before, ...fields, type: "snapshot", number, engines: columns };
  return isSnapshotMessage(made) && areEven(made.engines) ? made : null;
}

/** A column with its differences added; what is no column is told as a whole. */
function sums(before: unknown, by: unknown): unknown {
  if (!Array.isArray(before) || !Array.isArray(by)) return by;
  return by.map((difference, i) =>
    typeof difference === "number" ? Math.round(((before[i] ?? 0) + difference) * SCALE) / SCALE : difference,
  );
}
