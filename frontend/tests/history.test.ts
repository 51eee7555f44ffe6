import { describe, expect, it } from "vitest";
import { LoadHistory } from "../src/history";
import type { History, WaveInfo } from "../src/types.gen";
import { snapshot } from "./build";

const load = (at: number, running: number | null, waves: WaveInfo[] = []) =>
  snapshot({ at, totals: { waiting: 0, running }, waves });

function server(over: Partial<History>): History {
  const n = over.at?.length ?? 0;
  const fill = <T>(value: T): T[] => Array.from({ length: n }, () => value);
  return {
    at: [],
    current_wave: fill(0),
    phase: fill("paused" as const),
    waiting: fill(0),
    running: fill(0),
    front_ends: fill(1),
    engines_subscribed: fill(2),
    ...over,
  };
}

const wave = (number: number, asked_at: number, ended_at: number | null): WaveInfo => ({
  number,
  cause: "engine",
  cause_engine: 0,
  asked_at,
  started_at: asked_at,
  ended_at,
  duration_s: null,
  open: ended_at === null,
  completed: ended_at !== null,
  peak_waiting: 0,
  peak_running: 0,
});

describe("load history", () => {
  it("keeps a minute in full and an hour by the second, with the peaks", () => {
    const history = new LoadHistory();
    for (let i = 0; i <= 80_000; i++) history.push(load(1000 + i / 10, i % 10));
    const [at, , running] = history.columns(0);
    expect(at.length).toBeLessThan(3600 + 620);
    expect(at.length).toBeGreaterThan(3500 + 590);
    expect(at.at(-1)).toBe(9000);
    expect(at[0]).toBeGreaterThanOrEqual(9000 - 3601);
    expect(running.slice(0, 3000).every((value) => value === 9)).toBe(true);
  });

  it("breaks the line where data is missing", () => {
    const history = new LoadHistory();
    for (const at of [100, 101, 110, 111]) history.push(load(at, 5));
    expect(history.columns(0)[2]).toEqual([5, 5, null, 5, 5]);
  });

  it("keeps never-reported as a hole", () => {
    const history = new LoadHistory();
    for (const [at, running] of [
      [100, null],
      [101, 2],
    ] as const)
      history.push(load(at, running));
    expect(history.columns(0)[2]).toEqual([null, 2]);
    expect(history.empty).toBe(false);
  });

  it("adds the server's past only where it has none", () => {
    const history = new LoadHistory();
    history.push(load(200, 7));
    history.merge(server({ at: [197, 198, 199.9, 200.04], running: [1, 2, 3, 4] }));
    expect(history.columns(0)[0]).toEqual([197, 198, 199.9, 200]);
    expect(history.columns(0)[2]).toEqual([1, 2, 3, 7]);
  });

  it("follows a clock that was set back", () => {
    const history = new LoadHistory();
    for (const at of [1000, 1001, 500, 501]) history.push(load(at, 1));
    expect(history.columns(0)[0]).toEqual([500, 501]);
  });
});

describe("waves in the load history", () => {
  it("knows waves from snapshots and from what it asked for, the newest word last", () => {
    const history = new LoadHistory();
    history.setEpoch("a");
    history.noteWaves([wave(4, 101, 103), wave(5, 190, null)]);
    history.push(load(200, 1, [wave(5, 190, 199)]));
    expect(history.bands(0, 300)).toMatchObject([
      { wave: 4, start: 101, end: 103 },
      { wave: 5, start: 190, end: 199 },
    ]);
    expect(history.bands(150, 300)).toHaveLength(1);
    expect(history.bands(0, 150)).toHaveLength(1);
  });

  it("ends a wave whose coordinator went away at the last sample", () => {
    const history = new LoadHistory();
    history.setEpoch("a");
    history.push(load(200, 1, [wave(5, 190, null)]));
    history.setEpoch("b");
    history.push(load(230, 1, [wave(5, 229, null)]));
    expect(history.bands(0, 300)).toMatchObject([
      { wave: 5, start: 190, end: 200 },
      { wave: 5, start: 229, end: null },
    ]);
  });
});
