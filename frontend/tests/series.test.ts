import { describe, expect, it } from "vitest";
import { trace } from "../src/lines";
import { linesOf, SERIES } from "../src/series";
import { imbalance, joinSpreads, quantile, type Spread, spreadOf } from "../src/spread";
import { snapshot } from "./build";

const engines = (waiting: (number | null)[], running: (number | null)[], gone: number[] = []) => ({
  ...snapshot({}, waiting.length).engines,
  waiting,
  running,
  kv_cache_usage: running.map((r) => (r === null ? null : r / 100)),
  status: { most: "working" as const, others: { gone } },
});

const spread = (over: Partial<Spread>): Spread => ({
  min: 0,
  median: 5,
  p95: 9,
  max: 10,
  mean: 5,
  kv: 0.5,
  ...over,
});

describe("the spread of the ranks", () => {
  it("has the extremes, the median and p95 of those that reported and are there", () => {
    const loads = Array.from({ length: 100 }, (_, i) => i + 1);
    const found = spreadOf(engines([...loads.map(() => 0), null, 900], [...loads, null, 0], [101]));
    expect(found).toEqual({ min: 1, median: 50, p95: 95, max: 100, mean: 50.5, kv: 1 });
    expect(spreadOf(engines([null], [null]))).toBeNull();
    expect(quantile([7], 0.95)).toBe(7);
    expect(quantile([], 0.5)).toBe(0);
  });

  it("of a second is that of its extremes, whichever came first", () => {
    const [calm, uneven] = [spread({ max: 10, mean: 9, kv: null }), spread({ max: 8, mean: 2, min: 1 })];
    for (const joined of [joinSpreads(calm, uneven), joinSpreads(uneven, calm)]) {
      expect(joined).toMatchObject({ min: 0, max: 10, kv: 0.5 });
      expect(joined === null ? 0 : imbalance(joined)).toBeCloseTo(4);
    }
    expect(joinSpreads(null, calm)).toBe(calm);
    expect(joinSpreads(null, null)).toBeNull();
    expect(imbalance(spread({ mean: 0 }))).toBe(0);
  });
});

describe("the lines of the chart", () => {
  const moments = [
    { at: 1, waiting: 2, running: 3, spread: spread({}) },
    { at: 2, waiting: 2, running: 3, spread: null },
    { at: 9, waiting: 0, running: 0, spread: spread({ min: 1 }) },
  ];

  it("break where nothing was seen, and not where only totals were told", () => {
    const { at, lines } = linesOf("sum", moments, 3);
    expect(at).toEqual([1, 2, 2.001, 9]);
    expect(lines.map(({ name, values }) => [name, ...values])).toEqual([
      ["running", 3, 3, null, 0],
      ["waiting", 2, 2, null, 0],
    ]);
    expect(linesOf("ranks", moments, 10).lines[3]?.values).toEqual([0, 1]);
    expect(linesOf("ranks", moments, 3).lines.map(({ name, values }) => [name, ...values])).toEqual([
      ["max", 10, null, 10],
      ["p95", 9, null, 9],
      ["median", 5, null, 5],
      ["min", 0, null, 1],
    ]);
  });

  it("say their values as people read them", () => {
    expect(SERIES.map((series) => linesOf(series, moments, 3).say(2))).toEqual(["2", "2", "2.0×", "2 %"]);
    expect(linesOf("kv", moments, 3).lines[0]?.values[0]).toBe(50);
    expect(linesOf("uneven", moments, 3).lines[0]?.values[0]).toBe(2);
    expect(linesOf("sum", [], 3).say(null)).toBe("—");
  });

  it("are steps, have the extremes of what shares a pixel, and begin anew after a break", () => {
    const drawn: (string | number)[][] = [];
    trace(
      [0, 1, 1.1, 1.2, 2, 3],
      [5, 1, 9, 4, null, 7],
      (at) => at * 1,
      (value) => value,
      (x, y, lift) => drawn.push([lift ? "to" : "line", x, y]),
    );
    expect(drawn).toEqual([
      ["to", 0, 5],
      ["line", 0, 5],
      ["line", 1, 5],
      ["line", 1, 1],
      ["line", 1, 9],
      ["line", 1, 4],
      ["to", 3, 7],
      ["line", 3, 7],
    ]);
  });
});
