import { describe, expect, it } from "vitest";
import { elapsedSince, engineRows, meanLoad } from "../src/rows";
import { snapshot } from "./build";

describe("rows", () => {
  it("have the status that the coordinator says, and ages that grow by themselves", () => {
    const message = snapshot({}, 4);
    message.engines.status = { most: "fresh", others: { stale: [2], never: [3] } };
    message.engines.age_s = [0.1, 0.1, 7, null];
    const rows = engineRows(message, 1000, 61_000, true);
    expect(rows.map((row) => row.status)).toEqual(["fresh", "fresh", "stale", "never"]);
    expect(rows.map((row) => row.age)).toEqual([60.1, 60.1, 67, null]);
  });

  it("are not broken by a status that nobody knows", () => {
    const message = snapshot();
    message.engines.status.others = { asleep: [1], stale: [99] };
    expect(engineRows(message, 0, 0, true).map((row) => row.status)).toEqual(["fresh", "fresh"]);
  });

  it("keep never apart from zero", () => {
    const message = snapshot();
    message.engines.waiting[1] = null;
    message.engines.running[1] = null;
    message.engines.age_s[1] = null;
    message.engines.status.others = { never: [1] };
    const [zero, never] = engineRows(message, 0, 0, true);
    expect(zero).toMatchObject({ waiting: 0, running: 1, load: 1, status: "fresh" });
    expect(never).toMatchObject({ waiting: null, running: null, load: null, age: null, status: "never" });
  });

  it("are unknown without a connection, except what never was", () => {
    const message = snapshot();
    message.engines.age_s[1] = null;
    message.engines.status.others = { never: [1] };
    expect(engineRows(message, 0, 0, false).map((row) => row.status)).toEqual(["unknown", "never"]);
  });

  it("have a mean over those that reported", () => {
    const message = snapshot({}, 3);
    message.engines.running = [4, 2, null];
    message.engines.waiting = [0, 0, null];
    expect(meanLoad(engineRows(message, 0, 0, true))).toBe(3);
    expect(meanLoad([])).toBeNull();
  });
});

it("time never runs backwards", () => {
  expect(elapsedSince(2000, 1000)).toBe(0);
  expect(elapsedSince(1000, 3500)).toBe(2.5);
});
