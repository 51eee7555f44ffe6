import { describe, expect, it } from "vitest";
import { layOut, rankAt } from "../src/heat";

describe("the grid of ranks", () => {
  it("has every rank in the room that there is, in rows of a round number", () => {
    for (const [ranks, width, height] of [
      [9, 350, 236],
      [72, 800, 236],
      [256, 350, 236],
      [1024, 820, 236],
      [1024, 1700, 460],
      [1024, 340, 236],
      [4096, 820, 236],
    ] as const) {
      const { wide, high, columns, left, height: needed } = layOut(ranks, width, height);
      expect(left + columns * (wide + 2) - 2).toBeLessThanOrEqual(width);
      expect(Math.ceil(ranks / columns) * (high + 2) - 2).toBe(needed);
      expect(needed).toBeLessThanOrEqual(height);
      expect(Math.log2(columns) % 1).toBe(0);
      expect(Math.min(wide, high)).toBeGreaterThanOrEqual(4);
    }
    const { wide, high } = layOut(64, 820, 236);
    expect(wide, "64 have room for their rank and their requests").toBeGreaterThan(34);
    expect(high).toBeGreaterThan(30);
  });

  it("grows where not all fit", () => {
    const { wide, high, height } = layOut(16_384, 820, 236);
    expect(Math.min(wide, high)).toBe(4);
    expect(height, "no more than it must").toBe(128 * 6 - 2);
    expect(layOut(300, 20, 236).columns).toBe(1);
  });

  it("knows the rank under a point", () => {
    const layout = layOut(1024, 820, 236);
    const { wide, high, columns, left } = layout;
    expect(rankAt(layout, 1024, left, 0)).toBe(0);
    expect(rankAt(layout, 1024, left + wide + 3, 0)).toBe(1);
    expect(rankAt(layout, 1024, left, high + 3)).toBe(columns);
    expect(rankAt(layout, 1024, left + columns * (wide + 2) + 1, 0)).toBeNull();
    expect(rankAt(layout, 1024, 3, 0), "beside the cells").toBeNull();
    expect(rankAt(layout, 1024, left, 5000)).toBeNull();
  });
});
