import { describe, expect, it } from "vitest";
import { pack } from "../src/packed";
import {
  fullOf,
  levelsOf,
  paintInto,
  peaksOf,
  placeStates,
  ranksARow,
  statusOf,
  worstAt,
} from "../src/rankmap";
import { FIRST, GONE, LEVELS, NEVER, SHADES } from "../src/scale";
import { snapshot } from "./build";

type Rank = [waiting: number | null, running: number | null, kv?: number];

function state(at: number, ranks: Rank[], others: Record<string, number[]> = {}) {
  const none = ranks.map(() => null);
  const base = snapshot({ at });
  return pack(
    {
      ...base,
      engine_count: ranks.length,
      engines: {
        waiting: ranks.map(([waiting]) => waiting),
        running: ranks.map(([, running]) => running),
        kv_cache_usage: ranks.map(([, , kv]) => kv ?? null),
        step_counter: none,
        current_wave: none,
        age_s: none,
        restarts: ranks.map(() => 0),
        status: { most: "working", others },
      },
    },
    0,
  );
}

const look = (rows: number, by: "requests" | "state" = "requests") => ({ by, full: 100, rows });

describe("states in columns", () => {
  const states = [10, 11, 12.2, 12.4, 20].map((at) => state(at, [[0, 1]]));
  const shown = (first: Int32Array, end: Int32Array) => [...first].map((a, i) => [a, end[i]]);

  it("stand where they were told, several together, and on until the next", () => {
    const { first, end } = placeStates(states, 10, 14, 4, 3);
    expect(shown(first, end)).toEqual([
      [0, 1],
      [1, 2],
      [2, 4],
      [3, 4],
    ]);
  });

  it("stand no longer than they hold: then nothing was seen", () => {
    const { first, end } = placeStates(states, 10, 22, 12, 3);
    const seen = [...first].map((a, i) => (end[i] ?? 0) > a);
    expect(seen).toEqual([true, true, true, true, true, true, false, false, false, false, true, true]);
  });

  it("are not seen between a coordinator's death and the first word of the next", () => {
    const reborn = states
      .slice(0, 3)
      .map((one, i) => ({ ...one, at: 10 + 2 * i, incarnation: i > 1 ? 2 : 1 }));
    const { first, end } = placeStates(reborn, 10, 15, 10, 3);
    const seen = [...first].map((a, i) => ((end[i] ?? 0) > a ? "x" : "-")).join("");
    expect(seen).toBe("xxxxxxx-xx");
  });

  it("come in from the left", () => {
    const { first, end } = placeStates(states, 11.5, 12.1, 2, 3);
    expect(shown(first, end)).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });
});

describe("rows", () => {
  const ranks: Rank[] = [
    [0, 10],
    [60, 40],
    [null, null],
    [0, 0],
  ];

  it("have a level each, or share one and show the worst", () => {
    const four = state(10, ranks, { never: [2], gone: [3] });
    expect([...levelsOf(four, look(4))]).toEqual([FIRST + 2, FIRST + SHADES, NEVER, GONE]);
    expect([...levelsOf(four, look(2))]).toEqual([FIRST + SHADES, GONE]);
    expect(ranksARow(1024, 140)).toBe(8);
    expect(ranksARow(8, 140)).toBe(1);
  });

  it("show the worst of the states that share a column, and tell which rank it was", () => {
    const states = [
      state(10, [
        [0, 10],
        [0, 5],
      ]),
      state(10.5, [
        [0, 90],
        [0, 5],
      ]),
    ];
    const columns = placeStates(states, 10, 11, 1, 3);
    const into = new Uint32Array(1);
    const colours = Uint32Array.from({ length: LEVELS }, (_, level) => level);
    paintInto(into, states, columns, look(1), colours);
    expect(into[0]).toBe(FIRST + 18);
    const found = worstAt(states, columns, 0, 0, look(1));
    expect(found).toMatchObject({ rank: 0 });
    expect(found?.state.at).toBe(10.5);
    paintInto(into, [], placeStates([], 10, 11, 1, 3), look(1), colours);
    expect(into[0], "nothing was seen").toBe(0);
    expect(worstAt([], placeStates([], 10, 11, 1, 3), 0, 0, look(1))).toBeNull();
  });

  it("know each rank's status", () => {
    const four = state(10, ranks, { never: [2], suspect: [1] });
    expect([0, 1, 2, 3].map((rank) => statusOf(four, rank))).toEqual([
      "working",
      "suspect",
      "never",
      "working",
    ]);
  });
});

it("ends the scale so that one rank does not make all others look the same, and leaves out who is gone", () => {
  const uneven = state(
    10,
    [
      [0, 10],
      [0, 10],
      [0, 10],
      [400, 64],
      [900, 0],
    ],
    { gone: [4] },
  );
  expect(peaksOf(uneven)).toMatchObject({ most: 464, waiting: 400, mean: 123.5, meanWaiting: 100 });
  expect(fullOf([uneven], "requests")).toBe(370.5);
  expect(fullOf([uneven], "waiting")).toBe(300);
  expect(fullOf([], "requests")).toBe(0);
});
