import { describe, expect, it } from "vitest";
import { type Arrival, applyAll, EARLIER_WAVES, EMPTY, LOG_SIZE, sameProcess } from "../src/store";
import type { StreamMessage } from "../src/types.gen";
import { event, hello, snapshot, wave } from "./build";

const arrive = (...messages: (StreamMessage | null)[]): Arrival[] =>
  messages.map((message) => ({ message, at: 5000 }));

const texts = (log: readonly { type: string }[]) =>
  log.map((entry) => ("seq" in entry ? entry.seq : (entry as { kind?: string }).kind));

describe("the store", () => {
  it("takes a hello, a snapshot and events", () => {
    const live = applyAll(EMPTY, arrive(hello(), snapshot({ current_wave: 7 }), event(1), event(2)));
    expect(live.snapshot?.current_wave).toBe(7);
    expect(live.snapshotAt).toBe(5000);
    expect(live.lastSeq).toBe(2);
    expect(texts(live.log)).toEqual([1, 2]);
  });

  it("shows only the newest snapshot of a batch", () => {
    const live = applyAll(EMPTY, arrive(snapshot({ current_wave: 1 }), snapshot({ current_wave: 2 })));
    expect(live.snapshot?.current_wave).toBe(2);
  });

  it("leaves out events that it has already", () => {
    const live = applyAll(EMPTY, arrive(hello(), event(1), event(2), event(2), event(1), event(3)));
    expect(texts(live.log)).toEqual([1, 2, 3]);
  });

  it("marks numbers that were jumped, told or not", () => {
    const live = applyAll(EMPTY, arrive(event(1), { type: "gap", first: 2, last: 9 }, event(10), event(14)));
    expect(texts(live.log)).toEqual([1, "gap", 10, "gap", 14]);
    const [, told, , untold] = live.log;
    expect(told).toMatchObject({ text: "Events 2–9 are no longer held (8 missing)" });
    expect(untold).toMatchObject({ text: "Events 11–13 are no longer held (3 missing)" });
  });

  it("does not call the first event it ever sees a gap", () => {
    expect(texts(applyAll(EMPTY, arrive(hello({ replay_from: 90 }), event(90))).log)).toEqual([90]);
  });

  it("keeps a bounded log", () => {
    const events = Array.from({ length: LOG_SIZE + 50 }, (_, i) => event(i + 1));
    const live = applyAll(applyAll(EMPTY, arrive(...events.slice(0, 1000))), arrive(...events.slice(1000)));
    expect(live.log).toHaveLength(LOG_SIZE);
    expect(live.log[0]).toMatchObject({ seq: 51 });
    expect(live.lastSeq).toBe(LOG_SIZE + 50);
  });

  it("counts what it does not understand and stays as it was", () => {
    const before = applyAll(EMPTY, arrive(hello(), snapshot(), event(1)));
    const after = applyAll(before, arrive(null, null));
    expect(after.ignored).toBe(2);
    expect(after.snapshot).toBe(before.snapshot);
    expect(after.log).toBe(before.log);
  });
});

describe("the store and a coordinator that comes back", () => {
  it("keeps log and state when the same coordinator is met again", () => {
    const before = applyAll(EMPTY, arrive(hello(), snapshot(), event(1), event(2)));
    const after = applyAll(before, arrive(hello({ now: 1090, replay_from: 3 }), event(3)));
    expect(texts(after.log)).toEqual([1, 2, 3]);
    expect(after.mustReplay).toBe(false);
  });

  it("keeps an earlier incarnation's log and waves apart from those of the coordinator that came back", () => {
    const waves = [wave({ number: 8, open: true, ended_at: null }), wave({ number: 7 })];
    const before = applyAll(EMPTY, arrive(hello(), snapshot({ waves }), event(1), event(2), event(3)));
    const after = applyAll(before, arrive(hello({ started_at: 1070, now: 1071 }), event(1)));
    expect(texts(after.log)).toEqual([1, 2, 3, "restarted", 1]);
    expect(after.snapshot).toBeNull();
    expect(after.incarnation).toBe(1);
    expect(after.earlier).toEqual([{ ...waves[0], open: false, duration_s: null }, waves[1]]);
    expect(after.lastSeq).toBe(1);
    expect(after.mustReplay).toBe(false);
  });

  it("keeps a bounded number of earlier waves, over any number of restarts", () => {
    let live = EMPTY;
    for (let life = 1; life <= 3; life++) {
      const waves = Array.from({ length: 15 }, (_, i) => wave({ number: 100 * life - i }));
      live = applyAll(
        live,
        arrive(hello({ started_at: 1000 * life, now: 1001 * life }), snapshot({ waves })),
      );
    }
    expect(live.incarnation).toBe(2);
    expect(live.earlier.map((w) => w.number).slice(13, 17)).toEqual([187, 186, 100, 99]);
    expect(live.earlier).toHaveLength(EARLIER_WAVES);
  });
});

describe("the store at a new beginning", () => {
  it("asks for a replay when the restarted coordinator counted past the old numbers", () => {
    const before = applyAll(EMPTY, arrive(hello(), event(1), event(2)));
    const after = applyAll(before, arrive(hello({ started_at: 1070, now: 1071, replay_from: 3 })));
    expect(after.mustReplay).toBe(true);
    expect(after.lastSeq).toBe(0);
  });

  it("begins anew, without a word of a restart, when a recording goes elsewhere", () => {
    const recording = { name: "x", at: 1, position_s: 0, duration_s: 9, speed: 1, paused: false };
    const before = applyAll(EMPTY, arrive(hello(), snapshot({ recording, waves: [wave()] }), event(1)));
    const after = applyAll(before, arrive(hello({ started_at: 999, replay_from: 1 }), event(1)));
    expect(texts(after.log)).toEqual([1]);
    expect(after.earlier).toEqual([]);
    expect(after.incarnation).toBe(1);
  });

  it("is outdated under another protocol, and changes nothing else", () => {
    const before = applyAll(EMPTY, arrive(hello(), snapshot()));
    const after = applyAll(before, arrive(hello({ protocol: 9 }), snapshot(), event(1)));
    expect(after.log).toEqual([]);
    expect(after.outdated).toBe(true);
    expect(after.snapshot).toBe(before.snapshot);
  });
});

describe("whose hello it is", () => {
  it("tells a restart from a clock that was set", () => {
    const first = hello({ started_at: 1000, now: 1060 });
    expect(sameProcess(first, hello({ started_at: 1000, now: 1100 }), 40)).toBe(true);
    expect(sameProcess(first, hello({ started_at: 4600, now: 4700 }), 40)).toBe(true);
    expect(sameProcess(first, hello({ started_at: 1095, now: 1100 }), 40)).toBe(false);
  });

  it("shows what is counted together once, as it was told last", () => {
    const arrive = (...messages: StreamMessage[]) => messages.map((message) => ({ message, at: 0 }));
    const joined = (seq: number) => event(seq, "engine_subscribed", { first_seq: 2 });
    let live = applyAll(EMPTY, arrive(event(1), joined(2), joined(3), joined(5)));
    expect(live.log).toEqual([event(1), joined(5)]);
    live = applyAll(live, arrive(joined(9), event(10)));
    expect(live.log).toEqual([event(1), joined(9), event(10)]);
    expect(live.lastSeq).toBe(10);
  });

  it("says nothing of what made room for newer entries", () => {
    const gap = { type: "gap", first: 2, last: 7, thinned: true } as const;
    const live = applyAll(
      EMPTY,
      [event(1), gap, event(8)].map((message) => ({ message, at: 0 })),
    );
    expect(live.log).toEqual([event(1), event(8)]);
  });
});
