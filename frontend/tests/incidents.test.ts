import { describe, expect, it } from "vitest";
import { rankCsv, windowCsv } from "../src/csv";
import { incidentText, nextIncident } from "../src/incidents";
import { applyAll, EMPTY, LOG_SIZE } from "../src/store";
import { Timeline } from "../src/timeline";
import type { Alarm } from "../src/types.gen";
import { event, snapshot } from "./build";

const raised = (seq: number) => event(seq, "alarm_raised", { group: "alarms" });

describe("from one incident to the next", () => {
  const log = [raised(10), event(15), event(17, "manual_start_asked"), raised(20)];

  it("goes to the beginnings of alarms, and to nothing else", () => {
    expect(nextIncident(log, 1030, -1)).toBe(1020);
    expect(nextIncident(log, 1020, -1)).toBe(1010);
    expect(nextIncident(log, 1010, -1)).toBeNull();
    expect(nextIncident(log, 1010.2, 1)).toBe(1020);
    expect(nextIncident(log, 1020, 1)).toBeNull();
  });
});

it("tells a colleague of an incident, whatever strangers wrote into the log", () => {
  const alarm: Alarm = {
    kind: "engine_gone",
    severity: "critical",
    since: 1010,
    age_s: 60,
    title: "Engine gone: rank 3",
    meaning: "START does not reach it.",
    remedy: "Look why it ended.",
    engines: [3],
    counts: {},
  };
  const log = [event(1), event(9, "x", { text: "reason ``` [link](http://x)" }), event(300)];
  const told = incidentText({
    alarm,
    deployment: "blue, 127.0.0.1:8080/",
    state: "running: Wave 5 is running",
    age: 61,
    ranks: ["Rank 3: gone; pid 7"],
    log,
    link: "http://127.0.0.1:8080/#at=1010.000",
  });
  expect(told).toContain("## CRITICAL: Engine gone: rank 3");
  expect(told).toContain("- Since: 1970-01-01 00:16:50.000 UTC, for 1 min 01 s");
  expect(told).toContain("- Rank 3: gone; pid 7");
  expect(told).toContain("- What to do: Look why it ended.");
  expect(told).toContain("#at=1010.000");
  expect(told).toContain("1970-01-01 00:16:49.000 UTC  reason ''' [link]");
  expect(told.match(/```/g)).toHaveLength(2);
  expect(told, "an event of minutes later").not.toContain("00:21:40");
});

const from = (seq: number, kind: string, group: "engines" | "waves") => event(seq, kind, { group });

it("the log keeps waves and alarms when comings and goings are many", () => {
  const noise = Array.from({ length: LOG_SIZE + 500 }, (_, i) => from(i + 3, "bad_frame", "engines"));
  const arrivals = [from(1, "wave_started", "waves"), raised(2), ...noise].map((message) => ({
    message,
    at: 0,
  }));
  const { log } = applyAll(EMPTY, arrivals);
  expect(log).toHaveLength(LOG_SIZE);
  expect(log.slice(0, 2).map(({ kind }) => kind)).toEqual(["wave_started", "alarm_raised"]);
  const many = Array.from({ length: LOG_SIZE + 5 }, (_, i) => from(i + 1, "wave_started", "waves"));
  const full = applyAll(
    EMPTY,
    many.map((message) => ({ message, at: 0 })),
  );
  expect(full.log.at(0)).toMatchObject({ seq: 6 });
});

describe("as comma-separated values", () => {
  it("a window has a line for each moment in it, empty where nothing was told", () => {
    const timeline = new Timeline();
    const totals = { waiting: null, running: 3, left_out: null };
    for (const at of [1000, 1001, 1002]) timeline.push(snapshot({ at, totals }));
    const [head, ...rows] = windowCsv(timeline, 1000.5, 1001.5).trimEnd().split("\r\n");
    expect(head?.split(",")).toHaveLength(14);
    expect(rows).toEqual(["1970-01-01T00:16:41.000Z,1001,running,3,,3,2,1,1,1,1,1,1,0.5"]);
  });

  it("a rank has a column for each line, and commas in names are kept", () => {
    const lines = [{ name: "rank 1, own", colour: "running" as const, dash: [], values: [1, null, 2.00004] }];
    const csv = rankCsv({ at: [1, 2, 3], panes: [{ title: "Requests", say: String, lines }] });
    expect(csv.split("\r\n")).toEqual([
      'time_utc,unix_s,"Requests: rank 1, own"',
      "1970-01-01T00:00:01.000Z,1,1",
      "1970-01-01T00:00:03.000Z,3,2",
      "",
    ]);
  });
});
