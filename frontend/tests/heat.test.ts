import { describe, expect, it } from "vitest";
import { layOut, rankAt } from "../src/heat";

describe("the grid of ranks", () => {
  it("fits its width and stays low", () => {
    for (const width of [330, 640, 1200]) {
      const { cell, columns, height } = layOut(1024, width);
      expect(columns * (cell + 2) - 2).toBeLessThanOrEqual(width);
      expect(Math.ceil(1024 / columns) * (cell + 2) - 2).toBe(height);
      if (cell > 9) expect(height).toBeLessThanOrEqual(320);
    }
    expect(layOut(65, 1200).cell).toBe(22);
  });

  it("knows the rank under a point", () => {
    const layout = layOut(1024, 640);
    const { cell, columns } = layout;
    expect(rankAt(layout, 1024, 0, 0)).toBe(0);
    expect(rankAt(layout, 1024, cell + 3, 0)).toBe(1);
    expect(rankAt(layout, 1024, 0, cell + 3)).toBe(columns);
    expect(rankAt(layout, 1024, columns * (cell + 2) + 1, 0)).toBeNull();
    expect(rankAt(layout, 1024, -1, 0)).toBeNull();
    expect(rankAt(layout, 1024, 0, 5000)).toBeNull();
  });
});
