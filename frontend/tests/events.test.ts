import { describe, expect, it } from "vitest";
import { asJson, marksOf, matches, describe as say } from "../src/events";
import { event } from "./build";

it.each([
  ["wave_started", { wave: 3, cause: "engine", engine: 1 }, "Wave 3 started, by engine (rank 1)"],
  [
    "wave_asked",
    { wave: 3, cause: "manual", engine: null, excluded: null },
    "START for wave 3 broadcast, by hand",
  ],
  ["wave_completed", { wave: 3, engine: 0, duration_s: 4.2 }, "Wave 3 completed after 4.2 s"],
  ["engine_subscribed", { subscribed: 2, of: 4 }, "An engine subscribed: 2 of 4 now"],
  [
    "manual_start_timed_out",
    { wave: 3, silent: [1, 3] },
    "Manual start of wave 3 timed out: ranks 1 and 3 silent",
  ],
  [
    "bad_frame",
    { channel: "back_output", verdict: "undecodable", detail: "37 bytes", suppressed: 3 },
    "Bad frame on back_output: 37 bytes (and 3 more not logged)",
  ],
  ["coordinator_started", { pid: 7, restarts: 0 }, "Coordinator started"],
  [
    "coordinator_started",
    { pid: 8, restarts: 2, resumed_wave: 57 },
    "Coordinator came back (restart 2) with wave 57",
  ],
  ["engines_rejoined", { engines: 4, wave: 57 }, "All 4 engines are back after the restart"],
  [
    "wave_asked",
    { wave: 57, cause: "recovery", engine: null, excluded: null },
    "START for wave 57 broadcast, after the restart",
  ],
  [
    "recovery_finished",
    { wave: 58, took_s: 1.3 },
    "Recovered from the restart after 1.30 s; the next wave is 58",
  ],
  [
    "journal_failed",
    { detail: "No space left on device" },
    "The journal cannot be written, and a restart would lose the wave: No space left on device",
  ],
  ["journal_works_again", { detail: null }, "The journal can be written again"],
  ["a_new_kind", { a: 1 }, "a new kind · a 1"],
  ["constructor", {}, "constructor"],
])("%s in words", (kind, fields, text) => {
  expect(say(event(1, kind, fields))[0]).toBe(text);
});

it("says something about every kind even when fields are missing or of another type", () => {
  for (const kind of [
    "wave_asked",
    "wave_started",
    "engine_restarted",
    "manual_start_observed",
    "bad_frame",
    "coordinator_started",
    "engines_rejoined",
    "recovery_finished",
    "journal_failed",
  ]) {
    expect(say(event(1, kind, { wave: "x", engine: {}, silent: 3 }))[0]).not.toContain("undefined");
  }
});

it("filters by kind and by group; markers always stay", () => {
  const marker = { type: "marker", key: "k", kind: "gap", text: "", at: 0 } as const;
  expect(matches(event(1, "wave_started"), "waves")).toBe(true);
  expect(matches(event(1, "wave_started"), "engines")).toBe(false);
  expect(matches(event(1, "wave_started"), "wave_started")).toBe(true);
  expect(matches(event(1, "wave_started"), "toString")).toBe(false);
  for (const kind of ["coordinator_started", "engines_rejoined", "recovery_finished", "journal_failed"]) {
    expect(matches(event(1, kind), "restarts")).toBe(true);
  }
  expect(matches(event(1, "engine_restarted"), "restarts")).toBe(false);
  expect(matches(marker, "engines")).toBe(true);
});

it("copies as JSON", () => {
  expect(JSON.parse(asJson([event(4, "ready_sent", { engines: 2 })]))).toEqual([
    { seq: 4, at: 1004, kind: "ready_sent", engines: 2 },
  ]);
});

describe("alarms in the log", () => {
  const raised = event(1, "alarm_raised", {
    alarm: "engine_gone",
    severity: "critical",
    title: "Engines gone",
  });
  const cleared = event(2, "alarm_cleared", { alarm: "engine_gone", title: "Engines gone", lasted_s: 12 });

  it("are told when they come and go", () => {
    expect(say(raised)).toEqual(["Alarm: Engines gone", "bad"]);
    expect(say(cleared)).toEqual(["Over after 12 s: Engines gone", "good"]);
    expect(say(event(3, "alarm_raised", { alarm: "new_kind" }))).toEqual(["Alarm: new_kind", "warn"]);
  });

  it("are marked on the chart where they began, as starts by hand and restarts are", () => {
    const restarted = { type: "marker", key: "r", kind: "restarted", text: "", at: 1004 } as const;
    expect(marksOf([raised, cleared, event(3, "manual_start_asked"), restarted])).toEqual([
      { at: 1001, kind: "alarm" },
      { at: 1003, kind: "manual" },
      { at: 1004, kind: "restart" },
    ]);
  });
});
