import { describe, expect, it } from "vitest";
import { columnsOf, loadOf } from "../src/packed";
import { pastAt } from "../src/past";
import { EMPTY, type Live } from "../src/store";
import { Timeline } from "../src/timeline";
import type { SnapshotMessage } from "../src/types.gen";
import { event, snapshot, wave } from "./build";

const BEGIN = 10_000;

/** `running` on rank 1, nothing ever reported by rank 0. */
function state(at: number, running: number, over: Partial<SnapshotMessage> = {}): SnapshotMessage {
  const engines = {
    ...snapshot().engines,
    waiting: [null, 2],
    running: [null, running],
    kv_cache_usage: [null, 0.25],
    age_s: [null, 0.5],
  };
  return snapshot({ at, engines, totals: { waiting: 2, running }, ...over });
}

describe("the state of every rank", () => {
  it("gives back what was heard, with nulls as nulls", () => {
    const timeline = new Timeline();
    timeline.push(state(BEGIN, 7));
    const frame = timeline.stateAt(BEGIN + 0.5);
    if (frame === null) throw new Error("nothing");
    expect(columnsOf(frame)).toEqual(state(BEGIN, 7).engines);
    expect([loadOf(frame, 0), loadOf(frame, 1), loadOf(frame, 2)]).toEqual([null, 9, null]);
  });

  it("knows nothing before it began, nor of a time in which nothing was heard", () => {
    const timeline = new Timeline();
    timeline.push(state(BEGIN, 1));
    timeline.push(state(BEGIN + 60, 2));
    expect(timeline.stateAt(BEGIN - 0.1)).toBeNull();
    expect(timeline.stateAt(BEGIN + 30)).toBeNull();
    expect(timeline.stateAt(BEGIN + 60)?.at).toBe(BEGIN + 60);
  });

  it("keeps a minute in full, an hour by the second, and no more", () => {
    const timeline = new Timeline();
    for (let i = 0; i < 45_000; i++) timeline.push(state(BEGIN + i / 10, i));
    expect(timeline.length).toBeLessThan(3600 + 620);
    expect(timeline.states).toBeLessThan(3600 + 620);
    const end = BEGIN + 4499.9;
    expect(timeline.stateAt(end - 30.05)?.at).toBeCloseTo(end - 30.1, 5);
    expect(timeline.stateAt(end - 1800)).not.toBeNull();
    expect(timeline.stateAt(end - 3700)).toBeNull();
  });

  it("takes no more memory for a thousand ranks than for a few", () => {
    const timeline = new Timeline();
    const many = snapshot({ engine_count: 1024 }, 1024);
    for (let i = 0; i < 40_000; i++) timeline.push({ ...many, at: BEGIN + i / 10 });
    expect(timeline.states * 1024 * 24).toBeLessThan(26e6);
    for (const ago of [0, 59, 61, 1800, 3590]) expect(timeline.stateAt(BEGIN + 3999.9 - ago)).not.toBeNull();
  });

  it("forgets what a clock that was set back makes the future", () => {
    const timeline = new Timeline();
    for (const at of [0, 10, 20, 5]) timeline.push(state(BEGIN + at, at));
    expect(timeline.stateAt(BEGIN + 20)).toBeNull();
    expect(timeline.stateAt(BEGIN + 5)?.at).toBe(BEGIN + 5);
  });
});

describe("a moment of the past", () => {
  const timeline = new Timeline();
  const at = (seconds: number) => BEGIN + seconds;
  const early = wave({ number: 1, asked_at: at(2), started_at: at(2), ended_at: at(4) });
  const late = wave({ number: 2, asked_at: at(6), started_at: at(6), ended_at: at(16), peak_running: 50 });
  timeline.merge({
    at: Array.from({ length: 10 }, (_, i) => at(i)),
    current_wave: Array.from({ length: 10 }, (_, i) => (i < 5 ? 1 : 2)),
    phase: Array.from({ length: 10 }, (_, i) => (i < 6 ? "paused" : "running")),
    waiting: Array.from({ length: 10 }, () => 0),
    running: Array.from({ length: 10 }, (_, i) => i),
    front_ends: Array.from({ length: 10 }, () => 3),
    engines_subscribed: Array.from({ length: 10 }, () => 2),
  });
  for (let i = 10; i <= 20; i++) {
    const open = { ...late, ended_at: null, open: true, completed: false, peak_running: i };
    timeline.push(state(at(i), i, { waves: i < 16 ? [open, early] : [late, early], alarms: [] }));
  }
  timeline.noteWaves([early, late]);
  const present: Live = {
    ...EMPTY,
    snapshot: state(at(20), 20, { waves: [late, early] }),
    log: [event(1), event(2)].map((entry, i) => ({ ...entry, at: at(i === 0 ? 3 : 12) })),
  };

  it("is whole where the page heard it", () => {
    const { live, known, at: shown } = pastAt(at(12.5), present, timeline);
    expect(known).toBe("all");
    expect(shown).toBe(at(12));
    expect(live.snapshot?.engines.running).toEqual([null, 12]);
    expect(live.snapshot?.waves.map((w) => [w.number, w.open, w.peak_running])).toEqual([
      [2, true, 12],
      [1, false, early.peak_running],
    ]);
    expect(live.log).toHaveLength(2);
    expect(pastAt(at(11), present, timeline).live.log).toHaveLength(1);
  });

  it("has totals, phase and waves but no ranks where only the server knows it", () => {
    const { live, known } = pastAt(at(8), present, timeline);
    expect(known).toBe("totals");
    expect(live.snapshot?.totals).toEqual({ waiting: 0, running: 8 });
    expect(live.snapshot?.phase).toBe("running");
    expect(live.snapshot?.phase_age_s).toBe(2);
    expect(live.snapshot?.front_ends).toBe(3);
    expect(live.snapshot?.engines.running).toEqual([null, null]);
    expect(live.snapshot?.alarms).toEqual([]);
    const [open, ended] = live.snapshot?.waves ?? [];
    expect([open?.number, open?.open, open?.duration_s, open?.peak_running]).toEqual([2, true, 2, 8]);
    expect(ended).toEqual(early);
  });

  it("is empty where nobody knows it", () => {
    const { live, known } = pastAt(BEGIN - 100, present, timeline);
    expect([known, live.snapshot, live.log]).toEqual(["nothing", null, []]);
  });
});
