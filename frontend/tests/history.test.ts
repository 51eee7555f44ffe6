import { describe, expect, it } from "vitest";
import { historyOf, lagOf, readingOf } from "../src/history";
import { pack } from "../src/packed";
import type { EngineColumnsMessage } from "../src/types.gen";
import { snapshot } from "./build";

function state(at: number, over: Partial<EngineColumnsMessage> = {}) {
  const base = snapshot({ at }, 3);
  return pack({ ...base, engines: { ...base.engines, ...over } }, 0);
}

const uneven = { waiting: [0, 4, 0], running: [2, 8, null], kv_cache_usage: [0.1, 0.5, null] };

describe("one rank at a moment", () => {
  it("has its load, and how it compares", () => {
    const then = state(10, { ...uneven, waiting: [0, 4, null], age_s: [0.5, 2, null] });
    expect(readingOf(then, 1)).toMatchObject({ load: 12, waiting: 4, kv: 0.5, age: 2 });
    expect(readingOf(then, 1).ratio).toBeCloseTo(12 / 7);
    expect(readingOf(then, 2)).toMatchObject({ load: null, kv: null, age: null });
    expect(readingOf(then, 3), "there is no such rank").toMatchObject({ load: null, lag: null });
  });

  it("is behind by steps of the wave that is furthest; of another wave it is not known", () => {
    const then = state(10, { current_wave: [4, 4, 3], step_counter: [70, 32, 900] });
    expect([0, 1, 2].map((rank) => lagOf(then, rank))).toEqual([0, 38, null]);
    expect(lagOf(state(10, { current_wave: [null, null, null] }), 0)).toBeNull();
  });

  it("has nothing once it is gone", () => {
    const gone = state(10, { ...uneven, status: { most: "working", others: { gone: [1] } } });
    expect(readingOf(gone, 1)).toMatchObject({ load: null, kv: null, age: null });
  });
});

describe("one rank over time", () => {
  const states = [state(1, uneven), state(2, uneven), state(9, uneven)];

  it("stands beside the mean, and breaks where nothing was seen", () => {
    const { at, panes } = historyOf(states, 1, null, 3);
    expect(at).toEqual([1, 2, 2.001, 9]);
    const [load] = panes;
    expect(load?.lines.map(({ name, values }) => [name, ...values])).toEqual([
      ["mean", 14 / 3, 14 / 3, null, 14 / 3],
      ["waiting", 4, 4, null, 4],
      ["rank 1", 12, 12, null, 12],
    ]);
    expect(panes.map(({ say }) => say(2))).toEqual(["2", "2.0\u00d7", "200 %", "2", "2.0 s"]);
    expect(panes[0]?.say(null)).toBe("\u2014");
  });

  it("stands beside another rank", () => {
    const [load, , kv] = historyOf(states, 1, 0, 3).panes;
    expect(load?.lines[0]).toMatchObject({ name: "rank 0", values: [2, 2, null, 2] });
    expect(kv?.lines.map(({ name }) => name)).toEqual(["rank 0", "rank 1"]);
  });
});
