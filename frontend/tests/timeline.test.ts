import { describe, expect, it } from "vitest";
import { linesOf } from "../src/series";
import { GAP_S, Timeline } from "../src/timeline";
import type { History, WaveInfo } from "../src/types.gen";
import { snapshot } from "./build";

function columns(timeline: Timeline): [number[], (number | null)[], (number | null)[]] {
  const { at, lines } = linesOf("sum", timeline.moments(0), GAP_S);
  return [at, lines[1]?.values ?? [], lines[0]?.values ?? []];
}

const load = (at: number, running: number | null, waves: WaveInfo[] = []) =>
  snapshot({ at, totals: { waiting: 0, running, left_out: null }, waves });

function server(over: Partial<History>): History {
  const n = over.at?.length ?? 0;
  const fill = <T>(value: T): T[] => Array.from({ length: n }, () => value);
  return {
    at: [],
    current_wave: fill(0),
    state: fill("paused" as const),
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
  confirmed: true,
});

describe("totals", () => {
  it("keeps a minute in full and an hour by the second, with the peaks", () => {
    const timeline = new Timeline();
    for (let i = 0; i <= 80_000; i++) timeline.push(load(1000 + i / 10, i % 10));
    const [at, , running] = columns(timeline);
    expect(at.length).toBeLessThan(3600 + 620);
    expect(at.length).toBeGreaterThan(3500 + 590);
    expect(at.at(-1)).toBe(9000);
    expect(at[0]).toBeGreaterThanOrEqual(9000 - 3601);
    expect(running.slice(0, 3000).every((value) => value === 9)).toBe(true);
  });

  it("breaks the line where data is missing", () => {
    const timeline = new Timeline();
    for (const at of [100, 101, 110, 111]) timeline.push(load(at, 5));
    expect(columns(timeline)[2]).toEqual([5, 5, null, 5, 5]);
  });

  it("keeps never-reported as a hole", () => {
    const timeline = new Timeline();
    for (const [at, running] of [
      [100, null],
      [101, 2],
    ] as const)
      timeline.push(load(at, running));
    expect(columns(timeline)[2]).toEqual([null, 2]);
    expect(timeline.empty).toBe(false);
  });

  it("adds the server's past only where it has none", () => {
    const timeline = new Timeline();
    timeline.push(load(200, 7));
    timeline.merge(server({ at: [197, 198, 199.9, 200.04], running: [1, 2, 3, 4] }));
    expect(columns(timeline)[0]).toEqual([197, 198, 199.9, 200]);
    expect(columns(timeline)[2]).toEqual([1, 2, 3, 7]);
  });

  it("follows a clock that was set back", () => {
    const timeline = new Timeline();
    for (const at of [1000, 1001, 500, 501]) timeline.push(load(at, 1));
    expect(columns(timeline)[0]).toEqual([500, 501]);
  });
});

describe("waves", () => {
  it("knows waves from snapshots and from what it asked for, the newest word last", () => {
    const timeline = new Timeline();
    timeline.begin(1);
    timeline.noteWaves([wave(4, 101, 103), wave(5, 190, null)]);
    timeline.push(load(200, 1, [wave(5, 190, 199)]));
    expect(timeline.bands(0, 300)).toMatchObject([
      { wave: 4, start: 101, end: 103 },
      { wave: 5, start: 190, end: 199 },
    ]);
    expect(timeline.bands(150, 300)).toHaveLength(1);
    expect(timeline.bands(0, 150)).toHaveLength(1);
  });

  it("ends a wave whose coordinator went away at the last sample", () => {
    const timeline = new Timeline();
    timeline.begin(1);
    timeline.push(load(200, 1, [wave(5, 190, null)]));
    timeline.begin(2);
    timeline.push(load(230, 1, [wave(5, 229, null)]));
    expect(timeline.bands(0, 300)).toMatchObject([
      { wave: 5, start: 190, end: 200 },
      { wave: 5, start: 229, end: null },
    ]);
  });
});

describe("totals and states of one moment", () => {
  const END = 10_000 + 600;
  const timeline = new Timeline();
  const many = snapshot({ engine_count: 1024 }, 1024);
  for (let i = 0; i <= 6000; i++) {
    timeline.push({ ...many, at: 10_000 + i / 10, totals: { waiting: 0, running: i % 10, left_out: null } });
  }

  it("are thinned apart: every second's peaks stay, and of so many ranks a state every five seconds", () => {
    const [at, , running] = columns(timeline);
    expect(at.length).toBeLessThan(540 + 605);
    expect(running.slice(0, 500).every((value) => value === 9)).toBe(true);
    for (let moment = 10_006; moment < END; moment += 0.7) {
      const state = timeline.stateAt(moment);
      expect(moment - (state?.at ?? 0)).toBeGreaterThanOrEqual(0);
      expect(moment - (state?.at ?? 0)).toBeLessThan(moment < END - 59 ? 6 : 0.5);
    }
  });

  it("stay when the server's totals come between them", () => {
    const before = timeline.states;
    const at = Array.from({ length: 590 }, (_, i) => 10_000.53 + i);
    timeline.merge(server({ at, running: at.map(() => 50) }));
    expect(timeline.states).toBe(before);
    expect(columns(timeline)[2].slice(0, 530)).toEqual(Array.from({ length: 530 }, () => 50));
    expect(columns(timeline)[0].length).toBeLessThan(540 + 605 + 60);
  });

  it("are kept of both incarnations when a coordinator comes back within a second", () => {
    const timeline = new Timeline();
    timeline.push(load(100.1, 1));
    timeline.begin(1);
    timeline.push(load(100.12, 2));
    for (let i = 1; i < 700; i++) timeline.push(load(100.5 + i / 10, 3));
    expect(timeline.stateAt(100.11)?.rest.totals.running).toBe(1);
    expect(timeline.stateAt(100.3)?.rest.totals.running).toBe(2);
  });

  it("of a moment that was told twice are those that were told first", () => {
    const timeline = new Timeline();
    for (const running of [1, 2]) timeline.push(load(100, running));
    timeline.push(load(99.5, 3));
    expect(columns(timeline)).toEqual([[100], [0], [1]]);
    expect(timeline.stateAt(100)?.rest.totals.running).toBe(1);
  });

  it("of before the page was opened stay without holes as they grow old", () => {
    const timeline = new Timeline();
    timeline.push({ ...many, at: END });
    const fetched = Array.from({ length: 120 }, (_, i) => ({ ...many, at: END - 120 * 1.03 + 1.03 * i }));
    timeline.insert(fetched.slice(60));
    timeline.insert(fetched.slice(2, 60));
    for (let i = 1; i <= 1800; i++) timeline.push({ ...many, at: END + i / 10 });
    timeline.merge(server({ at: [END - 130] }));
    for (let moment = END - 121; moment < END + 180; moment += 0.3) {
      expect([moment, timeline.stateAt(moment)]).not.toEqual([moment, null]);
    }
  });
});

it("gives the states between two moments, and the one before them", () => {
  const timeline = new Timeline();
  for (let at = 100; at < 110; at++) timeline.push(load(at, at));
  const between = (from: number, to: number) => timeline.statesBetween(from, to).map(({ at }) => at);
  expect(between(103.5, 106)).toEqual([103, 104, 105, 106]);
  expect(between(90, 101)).toEqual([100, 101]);
  expect(between(120, 130)).toEqual([109]);
  expect(new Timeline().statesBetween(0, 1)).toEqual([]);
});
