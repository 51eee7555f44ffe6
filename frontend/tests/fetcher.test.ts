import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { StateFetcher } from "../src/fetcher";
import { columnsOf } from "../src/packed";
import { asMessages } from "../src/past";
import { Timeline } from "../src/timeline";
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
  const fetcher = new StateFetcher(
    async (moment) => {
      asked.push(moment);
      return answer(moment);
    },
    (states) => taken.push(states),
    () => {
      settled += 1;
    },
  );
  return { fetcher, asked, taken, settled: () => settled };
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
    const { fetcher, asked, taken, settled } = rig(() => history(BEGIN, 60));
    for (const second of [5, 12, 31]) expect(fetcher.want(BEGIN + second)).toBe("loading");
    await vi.runAllTimersAsync();
    expect(asked).toEqual([BEGIN + 31]);
    expect([taken.length, settled(), fetcher.oldest]).toEqual([1, 1, BEGIN]);
    for (const second of [0, 5, 59.9]) expect(fetcher.want(BEGIN + second)).toBe("known");
    expect(fetcher.want(BEGIN + 60)).toBe("loading");
    expect(fetcher.want(BEGIN + 5)).toBe("known");
    await vi.runAllTimersAsync();
    expect(asked).toHaveLength(1);
  });

  it("is asked for again where it has grown since", async () => {
    const { fetcher, asked } = rig(() => history(BEGIN, 10, { until: null }));
    fetcher.want(BEGIN + 3);
    await vi.runAllTimersAsync();
    expect(fetcher.want(BEGIN + 9.9)).toBe("known");
    expect(fetcher.want(BEGIN + 10.5)).toBe("loading");
    await vi.runAllTimersAsync();
    expect(asked).toEqual([BEGIN + 3, BEGIN + 10.5]);
    expect(fetcher.want(BEGIN + 10.5)).toBe("known"); // it was asked for just that, and there is no more
  });

  it("has an end, before which nothing is asked for twice", async () => {
    const { fetcher, asked } = rig(() => history(BEGIN, 0, { until: BEGIN }));
    fetcher.want(BEGIN - 100);
    await vi.runAllTimersAsync();
    for (const second of [-5000, -100, -0.1]) expect(fetcher.want(BEGIN + second)).toBe("known");
    expect(fetcher.want(BEGIN)).toBe("loading");
    expect(asked).toHaveLength(1);
  });

  it("is asked for anew when another process answers", async () => {
    const { fetcher, asked } = rig(() => history(BEGIN, 60));
    fetcher.want(BEGIN + 3);
    await vi.runAllTimersAsync();
    fetcher.forget();
    expect([fetcher.want(BEGIN + 3), fetcher.oldest]).toEqual(["loading", null]);
    await vi.runAllTimersAsync();
    expect(asked).toHaveLength(2);
  });
});

describe("what the server cannot give", () => {
  it("says so when it cannot be had, and may be had later", async () => {
    let broken = true;
    const { fetcher, asked, settled } = rig(() => {
      if (broken) throw new Error("gone");
      return history(BEGIN, 60);
    });
    fetcher.want(BEGIN + 3);
    await vi.runAllTimersAsync();
    expect([fetcher.want(BEGIN + 3), settled()]).toEqual(["failed", 1]);
    broken = false;
    fetcher.want(BEGIN + 4);
    await vi.runAllTimersAsync();
    expect(fetcher.want(BEGIN + 3)).toBe("known");
    expect(asked).toEqual([BEGIN + 3, BEGIN + 4]);
  });
});

describe("a timeline that is filled", () => {
  const like = snapshot({ at: BEGIN + 100, dialect: "0.28" });
  const running = (timeline: Timeline, moment: number) => {
    const frame = timeline.stateAt(moment);
    return frame === null ? null : [frame.at - BEGIN, columnsOf(frame).running[1]];
  };

  it("tells every moment's own state, and leaves what was heard as it was", () => {
    const timeline = new Timeline();
    for (const second of [90, 95, 95.5, 100.2]) {
      const engines = { ...snapshot().engines, running: [null, -second] };
      timeline.push(snapshot({ at: BEGIN + second, engines }));
    }
    timeline.insert(asMessages(history(BEGIN + 60, 40), like));
    expect(running(timeline, BEGIN + 59.9)).toBeNull();
    expect(running(timeline, BEGIN + 75.5)).toEqual([75, 75]);
    expect(running(timeline, BEGIN + 90.2)).toEqual([90, -90]);
    expect(running(timeline, BEGIN + 92.2)).toEqual([92, 92]);
    expect(running(timeline, BEGIN + 95.6)).toEqual([95.5, -95]);
    expect(running(timeline, BEGIN + 96.3)).toEqual([95.5, -95]);
    expect(running(timeline, BEGIN + 99.9)).toEqual([99, 99]); // just before the next that was heard
    expect(timeline.stateAt(BEGIN + 75)?.rest.dialect).toBe("0.28");
    const before = timeline.length;
    timeline.insert(asMessages(history(BEGIN + 60, 40), like));
    expect(timeline.length).toBe(before);
  });

  it("stays in order and bounded while it goes on", () => {
    const timeline = new Timeline();
    const message = (at: number): SnapshotMessage => ({ ...like, at: BEGIN + 3600 + at });
    for (let i = 0; i < 2000; i++) timeline.push(message(i / 10));
    for (let minute = 59; minute >= 0; minute--)
      timeline.insert(asMessages(history(BEGIN + 60 * minute, 60), like));
    for (let i = 2000; i < 20_000; i++) timeline.push(message(i / 10));
    expect(timeline.length).toBeLessThan(3600 + 620);
    for (let second = 2010; second < 3590; second += 10) {
      expect(running(timeline, BEGIN + second + 0.5)).toEqual([second, second]);
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
    const all = asMessages(history(BEGIN, 10), { ...like, actions: [made] }).map(({ actions }) => actions[0]);
    expect(all[1]).toBeUndefined();
    expect(all[4]).toMatchObject({ state: "asked", age_s: 2, silent: [0], seen: [seen[0]], took_s: null });
    expect(all[5]).toMatchObject({ state: "observed", took_s: 3, silent: [] });
  });
});
