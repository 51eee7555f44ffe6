import { describe, expect, it } from "vitest";
import { Snapshots } from "../src/changes";
import { parseFrame } from "../src/protocol";
import type { SnapshotChange } from "../src/types.gen";
import { event, snapshot } from "./build";

const change = (over: Partial<SnapshotChange> = {}): SnapshotChange => ({
  type: "change",
  number: 2,
  of: 1,
  fields: {},
  engines: {},
  ...over,
});

function after(first = snapshot()): Snapshots {
  const snapshots = new Snapshots();
  snapshots.take(first);
  return snapshots;
}

describe("changes", () => {
  it("make a whole snapshot of the one before", () => {
    const before = snapshot();
    before.engines.waiting = [3, null];
    const made = after(before).take(
      change({ fields: { current_wave: 4 }, engines: { waiting: [-1, 7], kv_cache_usage: [0.107, null] } }),
    );
    const engines = { ...before.engines, waiting: [2, 7], kv_cache_usage: [0.607, null] };
    expect(made).toEqual({ ...before, number: 2, current_wave: 4, engines });
    expect(before.engines.waiting).toEqual([3, null]);
  });

  it("follow one another without drifting", () => {
    const snapshots = after();
    let made: unknown;
    for (let number = 2; number < 1002; number++) {
      made = snapshots.take(change({ number, of: number - 1, engines: { age_s: [0.01, 0.07] } }));
    }
    expect(made).toMatchObject({ engines: { age_s: [10.1, 70.1] } });
  });

  it("are of no use without the snapshot that they change", () => {
    expect(new Snapshots().take(change())).toBe("missed");
    expect(after().take(change({ of: 7, number: 8 }))).toBe("missed");
  });

  it.each([
    ["a field of the wrong type", change({ fields: { waves: 3 } })],
    ["a column of another length", change({ engines: { waiting: [1] } })],
    ["a column that is none", change({ engines: { waiting: "all" } })],
    ["a difference that is no number", change({ engines: { waiting: [1, "2"] } })],
  ])("with %s are not understood, nor is what follows", (_, broken) => {
    const snapshots = after();
    expect(snapshots.take(broken)).toBeNull();
    expect(snapshots.take(change({ of: 2, number: 3 }))).toBe("missed");
  });

  it("leave other messages alone", () => {
    const snapshots = new Snapshots();
    expect(snapshots.take(event(1))).toEqual(event(1));
    expect(snapshots.take(null)).toBeNull();
  });

  it("are parsed as any message", () => {
    expect(parseFrame(JSON.stringify(change()))).toEqual([change()]);
    expect(parseFrame('{"type":"change","of":1}')).toEqual([null]);
  });
});
