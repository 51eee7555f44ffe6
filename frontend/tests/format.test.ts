import { describe, expect, it } from "vitest";
import {
  clockTime,
  count,
  duration,
  latency,
  moment,
  NEVER,
  outcome,
  percent,
  phaseWord,
  ranks,
  ratio,
  recoveryText,
  restartText,
} from "../src/format";
import { action, recovery, snapshot } from "./build";

it("never-reported is never a zero", () => {
  for (const text of [count(null), percent(null), duration(null), clockTime(null), ratio(null, 3)]) {
    expect(text).toBe(NEVER);
  }
  expect(count(0)).toBe("0");
  expect(percent(0)).toBe("0 %");
});

it.each([
  [0, "0 ms"],
  [0.0841, "84 ms"],
  [0.256, "260 ms"],
  [0.9996, "1.0 s"],
  [4.23, "4.2 s"],
  [9.96, "10 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [187, "3 min 07 s"],
  [3599.7, "1 h 00 min"],
  [7500, "2 h 05 min"],
  [273_600, "3 d 4 h"],
  [-3, "0 ms"],
  [Number.NaN, NEVER],
])("%d seconds last %s", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

it("latencies are to the millisecond", () => {
  expect([0.0041, 0.041, 0.9999, 1.236, 12].map(latency)).toEqual([
    "4.1 ms",
    "41 ms",
    "1.00 s",
    "1.24 s",
    "12 s",
  ]);
});

it("numbers and shares", () => {
  expect(count(11_788)).toBe("11 788");
  expect([0.004, 0.057, 0.42, 1].map(percent)).toEqual(["0.4 %", "5.7 %", "42 %", "100 %"]);
  expect([ratio(9, 5), ratio(0, 5), ratio(0, 0)]).toEqual(["1.8×", "0.0×", NEVER]);
});

it("moments of another day carry the day", () => {
  const at = new Date(2026, 4, 3, 14, 2, 11, 84).getTime() / 1000;
  expect(moment(at, at + 60, true)).toBe("14:02:11.084");
  expect(moment(at, at + 86_400)).toBe("3 May 14:02:11");
});

it.each([
  [[], "no rank"],
  [[3], "rank 3"],
  [[5, 3], "ranks 3 and 5"],
  [[0, 1, 2, 3, 7], "ranks 0–3 and 7"],
  [[0, 1, 5, 6], "ranks 0, 1, 5 and 6"],
  [[1, 3, 5, 7, 9, 11, 13, 20, 21, 22], "ranks 1, 3, 5, 7, 9, 11 and 4 more"],
])("ranks %j", (indexes, text) => {
  expect(ranks(indexes)).toBe(text);
});

describe("a restart in words", () => {
  it.each([
    [recovery(), "Recovering: 3 of 4 engines are back; wave 57 was resumed 800 ms ago"],
    [recovery({ phase: "settling" }), "Recovering: START was sent for wave 58; waiting for its end"],
    [
      recovery({ phase: "done", finished_at: 1000.4 }),
      "Recovered 400 ms after the restart, which resumed wave 57",
    ],
  ])("says how far it has got", (state, said) => {
    expect(recoveryText(state, 58, 1000.8)?.join(" ")).toBe(said);
  });

  it("says nothing of one that is long over", () => {
    const done = recovery({ phase: "done", finished_at: 1001 });
    expect(recoveryText(done, 58, 1030)).not.toBeNull();
    expect(recoveryText(done, 58, 1032)).toBeNull();
  });

  it("counts restarts and says when the last was", () => {
    expect(restartText(1, 1000, 1060)).toBe(`1 restart at ${clockTime(1000)}`);
    expect(restartText(3, 1000, 1060)).toBe(`3 restarts, the last at ${clockTime(1000)}`);
  });

  it("does not call engines paused while nobody can know", () => {
    expect(phaseWord(snapshot({ phase: "paused", recovery: recovery() }))).toBe("recovering");
    expect(phaseWord(snapshot({ phase: "running", recovery: recovery() }))).toBe("running");
    expect(phaseWord(snapshot({ phase: "paused", recovery: recovery({ phase: "settling" }) }))).toBe(
      "paused",
    );
    expect(phaseWord(snapshot({ phase: "paused" }))).toBe("paused");
  });
});

describe("what was observed of a start", () => {
  it("while waiting", () => {
    expect(outcome(action(), 0.4)).toEqual({
      tone: "waiting",
      text: "Asked 400 ms ago, no rank seen stepping yet",
    });
    const seen = [{ engine_index: 1, after_s: 0.01 }];
    expect(outcome(action({ seen, silent: [0, 2, 3] }), 2).text).toBe(
      "Asked 2.0 s ago, 1 of 4 ranks seen stepping",
    );
  });

  it("when all ranks followed", () => {
    const done = action({ state: "observed", silent: [], took_s: 0.041 });
    expect(outcome(done, 9)).toEqual({ tone: "good", text: "4 of 4 ranks stepping after 41 ms" });
  });

  it("when some did not", () => {
    const late = action({ state: "timed_out", silent: [1, 3], took_s: 5 });
    expect(outcome(late, 9)).toEqual({
      tone: "bad",
      text: "Timed out after 5.00 s: ranks 1 and 3 were not seen stepping (2 of 4)",
    });
    expect(outcome(action({ state: "timed_out", took_s: 5 }), 9).text).toContain(
      "no rank was seen stepping (0 of 4)",
    );
  });
});
