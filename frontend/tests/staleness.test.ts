import { describe, expect, it } from "vitest";
import { elapsedSince, engineRows, engineStatus, meanLoad } from "../src/staleness";
import { snapshot } from "./build";

describe("status of a rank", () => {
  it.each([
    ["never reported", null, true, 60, "never"],
    ["never reported, paused", null, false, 60, "never"],
    ["reported just now", 0.1, true, 60, "fresh"],
    ["silent while the wave runs", 5.1, true, 60, "stale"],
    ["exactly at the limit", 5, true, 60, "fresh"],
    ["silent, but paused", 500, false, 500, "fresh"],
    ["silent since before a wave that began just now", 500, true, 1, "fresh"],
  ] as const)("%s", (_, age, running, phaseAge, expected) => {
    expect(engineStatus(age, running, phaseAge, 5)).toBe(expected);
  });
});

describe("rows", () => {
  it("turn stale by the passing of time alone", () => {
    const message = snapshot();
    const status = (nowMs: number) => engineRows(message, 1000, nowMs, 5, true).map((row) => row.status);
    expect(status(1000)).toEqual(["fresh", "fresh"]);
    expect(status(5800)).toEqual(["fresh", "fresh"]);
    expect(status(6000)).toEqual(["stale", "stale"]);
  });

  it("count silence while starting only if engines are said to run", () => {
    const status = (engines_running: boolean) =>
      engineRows(snapshot({ phase: "starting", engines_running }), 0, 9000, 5, true)[0]?.status;
    expect(status(true)).toBe("stale");
    expect(status(false)).toBe("fresh");
  });

  it("keep never apart from zero", () => {
    const message = snapshot();
    message.engines.waiting[1] = null;
    message.engines.running[1] = null;
    message.engines.age_s[1] = null;
    const [zero, never] = engineRows(message, 0, 0, 5, true);
    expect(zero).toMatchObject({ waiting: 0, running: 1, load: 1, status: "fresh" });
    expect(never).toMatchObject({ waiting: null, running: null, load: null, age: null, status: "never" });
  });

  it("are unknown without a connection, except what never was", () => {
    const message = snapshot();
    message.engines.age_s[1] = null;
    expect(engineRows(message, 0, 0, 5, false).map((row) => row.status)).toEqual(["unknown", "never"]);
  });

  it("have a mean over those that reported", () => {
    const message = snapshot({}, 3);
    message.engines.running = [4, 2, null];
    message.engines.waiting = [0, 0, null];
    expect(meanLoad(engineRows(message, 0, 0, 5, true))).toBe(3);
    expect(meanLoad([])).toBeNull();
  });
});

it("time never runs backwards", () => {
  expect(elapsedSince(2000, 1000)).toBe(0);
  expect(elapsedSince(1000, 3500)).toBe(2.5);
});
