import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Archive } from "../src/archive";
import { heard } from "../src/past";
import { columnsOf, Tape } from "../src/tape";
import type { SnapshotMessage, StateHistory } from "../src/types.gen";
import { action, snapshot } from "./build";

const BEGIN = 10_000;

/** `count` states from `from` on, of two ranks that run as many as the seconds since BEGIN. */
function history(from: number, count: number, over: Partial<StateHistory> = {}): StateHistory {
  const at = Array.from({ length: count }, (_, i) => from + i);
  const states = at.map((moment) => {
    const { at, dialect, waves, actions, engines, ...rest } = snapshot();
    return { ...rest, engines: { ...engines, running: [null, moment - BEGIN] } };
  });
  return { at, states, until: from + count, oldest_at: BEGIN, ...over };
}

function rig(answer: (moment: number) => StateHistory) {
  const asked: number[] = [];
  const taken: StateHistory[] = [];
  let settled = 0;
  const archive = new Archive(
    async (moment) => {
      asked.push(moment);
      return answer(moment);
    },
    (states) => taken.push(states),
    () => {
      settled += 1;
    },
  );
  return { archive, asked, taken, settled: () => settled };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("window", globalThis);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("what the server kept", () => {
  it("is asked for once the hand rests, and once only", async () => {
    const { archive, asked, taken, settled } = rig(() => history(BEGIN, 60));
    for (const second of [5, 12, 31]) expect(archive.want(BEGIN + second)).toBe("loading");
    await vi.runAllTimersAsync();
    expect(asked).toEqual([BEGIN + 31]);
    expect([taken.length, settled(), archive.oldest]).toEqual([1, 1, BEGIN]);
    for (const second of [0, 5, 59.9]) expect(archive.want(BEGIN + second)).toBe("known");
    expect(archive.want(BEGIN + 60)).toBe("loading");
    expect(archive.want(BEGIN + 5)).toBe("known");
    await vi.runAllTimersAsync();
    expect(asked).toHaveLength(1);
  });

  it("is asked for again where it has grown since", async () => {
    const { archive, asked } = rig(() => history(BEGIN, 10, { until: null }));
    archive.want(BEGIN + 3);
    await vi.runAllTimersAsync();
    expect(archive.want(BEGIN + 9.9)).toBe("known");
    expect(archive.want(BEGIN + 10.5)).toBe("loading");
    await vi.runAllTimersAsync();
    expect(asked).toEqual([BEGIN + 3, BEGIN + 10.5]);
    expect(archive.want(BEGIN + 10.5)).toBe("known"); // it was asked for just that, and there is no more
  });

  it("has an end, before which nothing is asked for twice", async () => {
    const { archive, asked } = rig(() => history(BEGIN, 0, { until: BEGIN }));
    archive.want(BEGIN - 100);
    await vi.runAllTimersAsync();
    for (const second of [-5000, -100, -0.1]) expect(archive.want(BEGIN + second)).toBe("known");
    expect(archive.want(BEGIN)).toBe("loading");
    expect(asked).toHaveLength(1);
  });

  it("is asked for anew when another process answers", async () => {
    const { archive, asked } = rig(() => history(BEGIN, 60));
    archive.want(BEGIN + 3);
    await vi.runAllTimersAsync();
    archive.forget();
    expect([archive.want(BEGIN + 3), archive.oldest]).toEqual(["loading", null]);
    await vi.runAllTimersAsync();
    expect(asked).toHaveLength(2);
  });
});

describe("what the server cannot give", () => {
  it("says so when it cannot be had, and may be had later", async () => {
    let broken = true;
    const { archive, asked, settled } = rig(() => {
      if (broken) throw new Error("gone");
      return history(BEGIN, 60);
    });
    archive.want(BEGIN + 3);
    await vi.runAllTimersAsync();
    expect([archive.want(BEGIN + 3), settled()]).toEqual(["failed", 1]);
    broken = false;
    archive.want(BEGIN + 4);
    await vi.runAllTimersAsync();
    expect(archive.want(BEGIN + 3)).toBe("known");
    expect(asked).toEqual([BEGIN + 3, BEGIN + 4]);
  });
});

describe("a tape that is filled", () => {
  const like = snapshot({ at: BEGIN + 100, dialect: "0.28" });
  const running = (tape: Tape, moment: number) => {
    const frame = tape.at(moment);
    return frame === null ? null : [frame.at - BEGIN, columnsOf(frame).running[1]];
  };

  it("tells every moment's own state, and leaves what was heard as it was", () => {
    const tape = new Tape();
    for (const second of [90, 95, 95.5, 100.2]) {
      const engines = { ...snapshot().engines, running: [null, -second] };
      tape.push(snapshot({ at: BEGIN + second, engines }), 0);
    }
    tape.insert(heard(history(BEGIN + 60, 40), like), 0);
    expect(running(tape, BEGIN + 59.9)).toBeNull();
    expect(running(tape, BEGIN + 75.5)).toEqual([75, 75]);
    expect(running(tape, BEGIN + 90.2)).toEqual([90, -90]);
    expect(running(tape, BEGIN + 92.2)).toEqual([92, 92]);
    expect(running(tape, BEGIN + 95.6)).toEqual([95.5, -95]);
    expect(running(tape, BEGIN + 96.3)).toEqual([95.5, -95]);
    expect(running(tape, BEGIN + 99.9)).toEqual([99, 99]); // just before the next that was heard
    expect(tape.at(BEGIN + 75)?.rest.dialect).toBe("0.28");
    const before = tape.length;
    tape.insert(heard(history(BEGIN + 60, 40), like), 0);
    expect(tape.length).toBe(before);
  });

  it("stays in order and bounded while it goes on", () => {
    const tape = new Tape();
    const message = (at: number): SnapshotMessage => ({ ...like, at: BEGIN + 3600 + at });
    for (let i = 0; i < 2000; i++) tape.push(message(i / 10), 0);
    for (let minute = 59; minute >= 0; minute--)
      tape.insert(heard(history(BEGIN + 60 * minute, 60), like), 0);
    for (let i = 2000; i < 20_000; i++) tape.push(message(i / 10), 0);
    expect(tape.length).toBeLessThan(3600 + 620);
    for (let second = 2010; second < 3590; second += 10) {
      expect(running(tape, BEGIN + second + 0.5)).toEqual([second, second]);
    }
  });

  it("has manual starts as far as they had been followed", () => {
    const seen = [
      { engine_index: 1, after_s: 0.5 },
      { engine_index: 0, after_s: 3 },
    ];
    const made = action({
      asked_at: BEGIN + 2,
      state: "observed",
      took_s: 3,
      seen,
      silent: [],
      engine_count: 2,
    });
    const all = heard(history(BEGIN, 10), { ...like, actions: [made] }).map(({ actions }) => actions[0]);
    expect(all[1]).toBeUndefined();
    expect(all[4]).toMatchObject({ state: "asked", age_s: 2, silent: [0], seen: [seen[0]], took_s: null });
    expect(all[5]).toMatchObject({ state: "observed", took_s: 3, silent: [] });
  });
});
