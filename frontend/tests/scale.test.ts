import { describe, expect, it } from "vitest";
import {
  badness,
  COLOUR_BY,
  css,
  FIRST,
  GONE,
  isLight,
  LEVELS,
  levelOf,
  NEVER,
  paletteOf,
  roundFull,
  SCALE_COLOURS,
  type ScaleColours,
  SHADES,
} from "../src/scale";

const rank = { status: "working", waiting: 5, running: 45, kv: 0.5 } as const;
const never = { status: "never", waiting: null, running: null, kv: null } as const;
const colours = Object.fromEntries(
  SCALE_COLOURS.map((name, i) => [name, `rgb(${10 * i}, ${255 - 10 * i}, 30)`]),
) as ScaleColours;

describe("the level of a rank", () => {
  it("follows the value, to the end of the scale and no further", () => {
    expect(levelOf("requests", rank, 100, 20)).toBe(FIRST + SHADES / 2);
    expect(levelOf("requests", { ...rank, waiting: 900 }, 100, 20)).toBe(FIRST + SHADES);
    expect(levelOf("waiting", rank, 100, 20)).toBe(FIRST + 1);
    expect(levelOf("kv", rank, 100, 20)).toBe(FIRST + SHADES / 2);
  });

  it("tells nothing from a little, and never from nothing", () => {
    expect(levelOf("requests", { ...rank, waiting: 0, running: 0 }, 100, 20)).toBe(FIRST);
    expect(levelOf("requests", { ...rank, waiting: 0, running: 1 }, 1000, 20)).toBe(FIRST + 1);
    for (const by of COLOUR_BY) expect(levelOf(by, never, 100, 20)).toBe(NEVER);
  });

  it("is gone whatever it had", () => {
    for (const by of COLOUR_BY) expect(levelOf(by, { ...rank, status: "gone" }, 100, 20)).toBe(GONE);
  });

  it("has the mean in the middle, and as far below it as above", () => {
    const middle = levelOf("ratio", rank, 100, 50);
    const half = levelOf("ratio", rank, 100, 100);
    const twice = levelOf("ratio", rank, 100, 25);
    expect(twice - middle).toBe(middle - half);
    expect(levelOf("ratio", { ...rank, waiting: 0, running: 0 }, 100, 20)).toBe(FIRST);
    expect(levelOf("ratio", rank, 100, 1)).toBe(FIRST + SHADES);
    expect(levelOf("ratio", rank, 100, 0), "of nothing").toBe(middle);
  });

  it("has a colour of its own for each status", () => {
    const statuses = ["idle", "working", "quiet", "joining", "unknown", "suspect", "never", "gone"] as const;
    expect(new Set(statuses.map((status) => levelOf("state", { ...rank, status }, 1, 1))).size).toBe(8);
  });
});

it("shows the worst of several", () => {
  for (const by of COLOUR_BY) {
    const worse = badness(by);
    expect(Math.max(...worse)).toBe(worse[GONE]);
    expect(worse[NEVER]).toBeLessThan(worse[FIRST] ?? 0);
  }
  const [away, same, starved] = [FIRST + SHADES, FIRST + SHADES / 2, FIRST].map(
    (l) => badness("ratio")[l] ?? 0,
  );
  expect(away).toBeGreaterThan(starved ?? 0);
  expect(starved).toBeGreaterThan(same ?? 0);
});

it("has a colour for every level, and text that can be read on it", () => {
  for (const by of COLOUR_BY) expect(paletteOf(by, colours)).toHaveLength(LEVELS);
  expect(css([1, 2, 3])).toBe("rgb(1 2 3)");
  expect(isLight([255, 255, 255])).toBe(true);
  expect(isLight([11, 102, 179])).toBe(false);
});

it("ends a scale at a round value that is not below the largest", () => {
  expect([0, 3, 8, 20, 21, 180, 1001].map(roundFull)).toEqual([4, 4, 10, 20, 30, 200, 1500]);
});
