import { describe, expect, it } from "vitest";
import { parseFrame } from "../src/protocol";
import { action, event, hello, recovery, snapshot } from "./build";

const parse = (value: unknown) => parseFrame(JSON.stringify(value))[0];

describe("parsing", () => {
  it("takes each kind of message", () => {
    const wave = {
      number: 3,
      cause: "manual",
      cause_engine: null,
      asked_at: 1000,
      started_at: null,
      ended_at: null,
      duration_s: 2,
      open: true,
      completed: false,
      peak_waiting: 0,
      peak_running: 0,
    } as const;
    for (const message of [
      hello(),
      snapshot({ actions: [action({ seen: [{ engine_index: 0, after_s: 0.1 }] })], waves: [wave] }),
      event(1),
      { type: "gap", first: 1, last: 2 },
    ]) {
      expect(parse(message)).toEqual(message);
    }
  });

  it("takes several events in one frame", () => {
    expect(parseFrame(JSON.stringify([event(1), event(2)]))).toEqual([event(1), event(2)]);
    expect(parseFrame(JSON.stringify([event(1), { type: "event" }]))).toEqual([event(1), null]);
  });

  it("takes nulls for what was never reported, and fields it does not know", () => {
    const message = snapshot({ totals: { waiting: null, running: null } });
    message.engines.waiting = [null, null];
    expect(parse({ ...message, added_later: [1] })).not.toBeNull();
  });

  it("takes a hello of a foreign protocol, however it looks", () => {
    expect(parse({ type: "hello", protocol: 9 })).toMatchObject({ protocol: 9 });
  });
});

describe("what is no message", () => {
  it.each([
    ["no JSON", "{nonsense"],
    ["no text", new ArrayBuffer(3)],
    ["nothing", ""],
    ["an empty list", "[]"],
    ["a list of nothing known", "[7]"],
    ["null", "null"],
    ["no type", "{}"],
    ["an unknown type", '{"type":"alarm"}'],
    ["a name from the prototype", '{"type":"constructor"}'],
    [
      "an event without number",
      '{"type":"event","kind":"x","group":"waves","tone":"good","text":"x","fields":{}}',
    ],
    [
      "an event whose fields are a list",
      '{"type":"event","seq":1,"at":1,"kind":"x","group":"waves","tone":"good","text":"x","fields":[]}',
    ],
    ["a hello without numbers", '{"type":"hello","protocol":2}'],
    ["a gap without end", '{"type":"gap","first":1}'],
    ["an empty snapshot", '{"type":"snapshot"}'],
  ])("refuses %s", (_, text) => {
    expect(parseFrame(text)).toEqual([null]);
  });

  it("takes a recovery", () => {
    const recovering = snapshot({ restarts: 2, recovery: recovery() });
    expect(parse(recovering)).toEqual(recovering);
  });

  it("refuses snapshots that would break a panel", () => {
    const broken: Record<string, unknown>[] = [
      { phase: "sleeping" },
      { waves: null },
      { waves: [{}] },
      { actions: [{}] },
      { alarms: [{}] },
      { alarms: undefined },
      { recording: { name: 3 } },
      { totals: { waiting: "3", running: 0 } },
      { engines: {} },
      { endpoints: {} },
      { restarts: null },
      { recovery: undefined },
      { recovery: { phase: "rejoining" } },
      { engines: { ...snapshot().engines, waiting: [0] } },
      { engines: { ...snapshot().engines, status: "fresh" } },
      { notices: [{ kind: "starting" }] },
      { phase_word: 3 },
    ];
    for (const over of broken) expect(parse({ ...snapshot(), ...over })).toBeNull();
  });
});
