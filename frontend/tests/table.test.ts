import { describe, expect, it } from "vitest";
import type { EngineRow } from "../src/rows";
import { filterRows, namedFirst, nextSort, sortRows, windowOf } from "../src/table";

const row = (index: number, load: number | null, status: EngineRow["status"] = "working"): EngineRow => ({
  index,
  waiting: 0,
  running: load,
  load,
  kvCacheUsage: 0,
  step: 0,
  wave: 0,
  age: 0,
  restarts: 0,
  status,
});

const ROWS = [row(0, 3), row(1, null, "never"), row(2, 9, "suspect"), row(3, 3), row(10, 1)];
const order = (rows: EngineRow[]) => rows.map((r) => r.index);

it("puts those that alarms name before the others", () => {
  expect(order(namedFirst(ROWS, new Set([10, 1])))).toEqual([1, 10, 0, 2, 3]);
  expect(order(namedFirst(ROWS, new Set()))).toEqual(order(ROWS));
});

describe("sorting", () => {
  it("puts never-reported last either way, and ties by rank", () => {
    expect(order(sortRows(ROWS, { key: "load", descending: true }))).toEqual([2, 0, 3, 10, 1]);
    expect(order(sortRows(ROWS, { key: "load", descending: false }))).toEqual([10, 0, 3, 2, 1]);
  });

  it("brings trouble to the top by status", () => {
    expect(order(sortRows(ROWS, nextSort({ key: "index", descending: false }, "status")))).toEqual([
      2, 1, 0, 3, 10,
    ]);
  });

  it("begins with the largest, and turns round when pressed again", () => {
    const once = nextSort({ key: "index", descending: false }, "waiting");
    expect(once).toEqual({ key: "waiting", descending: true });
    expect(nextSort(once, "waiting")).toEqual({ key: "waiting", descending: false });
  });
});

it.each([
  ["", [0, 1, 2, 3, 10]],
  ["3", [3]],
  ["1", [1]],
  ["2-10", [2, 3, 10]],
  ["0, 3", [0, 3]],
  ["suspect", [2]],
  ["SUS 0-5", [2]],
  ["nev", [1]],
  ["nothing", []],
  ["(", []],
])("filter %j", (text, expected) => {
  expect(order(filterRows(ROWS, text))).toEqual(expected);
});

it.each([
  ["few rows are all there", 16, 900, 950, [0, 16]],
  ["those in sight, and a few around", 64, 10, 20, [7, 23]],
  ["the first ones", 64, -4, 12, [0, 15]],
  ["the last ones", 64, 50, 70, [47, 64]],
  ["a table below the fold still has a beginning", 1024, -40, -12, [0, 3]],
  ["a table above has an end", 1024, 1100, 1130, [1021, 1024]],
] as const)("windowOf: %s", (_, total, first, end, expected) => {
  expect(windowOf(total, first, end)).toEqual(expected);
});
