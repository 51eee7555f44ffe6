import { expect, it } from "vitest";
import { asJson, GROUPS, lastCleared, marksOf, matches } from "../src/events";
import { event } from "./build";

const restarted = { type: "marker", key: "r", kind: "restarted", text: "", at: 1004 } as const;

it("filters by kind and by what it is about; markers always stay", () => {
  const entry = event(1, "wave_started", { group: "waves" });
  expect(matches(entry, "waves")).toBe(true);
  expect(matches(entry, "engines")).toBe(false);
  expect(matches(entry, "wave_started")).toBe(true);
  expect(matches(entry, "toString")).toBe(false);
  const asked = event(2, "wave_asked", { group: "START" });
  expect(["", "all", "START", "wave_asked"].map((filter) => matches(asked, filter))).toEqual([
    false,
    true,
    true,
    true,
  ]);
  expect(GROUPS).toContain("restarts");
  expect(matches({ ...restarted, kind: "gap" }, "engines")).toBe(true);
});

it("has all that went wrong in one place, whatever it is about", () => {
  const tones = (["plain", "good", "warn", "bad"] as const).map((tone) =>
    matches(event(1, "x", { tone }), "faults"),
  );
  expect(tones).toEqual([false, false, true, true]);
});

it("copies as JSON", () => {
  const entry = event(4, "ready_sent", { fields: { engines: 2 } });
  expect(JSON.parse(asJson([entry]))).toEqual([{ seq: 4, at: 1004, kind: "ready_sent", engines: 2 }]);
});

it("marks alarms on the chart where they began, as starts by hand and restarts", () => {
  const log = [
    event(1, "alarm_raised", { fields: { engines: [3, 5], began_s_ago: 0.5 } }),
    event(2, "alarm_cleared"),
    event(3, "manual_start_asked"),
    restarted,
  ];
  expect(marksOf(log)).toEqual([
    { at: 1000.5, kind: "alarm", ranks: [3, 5] },
    { at: 1003, kind: "manual", ranks: [] },
    { at: 1004, kind: "restart", ranks: [] },
  ]);
});

it("knows what was wrong last", () => {
  const log = [event(1, "alarm_cleared"), event(2, "alarm_cleared"), event(3, "wave_started")];
  expect(lastCleared(log)).toMatchObject({ seq: 2 });
  expect(lastCleared([])).toBeNull();
});
