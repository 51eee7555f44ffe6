import { describe, expect, it } from "vitest";
import { timeTicks, valueTicks } from "../src/ticks";

describe("ticks", () => {
  it("stand at round values and reach over the highest", () => {
    expect(valueTicks(0, 5)).toEqual([0, 1, 2, 3, 4]);
    expect(valueTicks(100, 5)).toEqual([0, 50, 100, 150]);
    expect(valueTicks(143, 5)).toEqual([0, 50, 100, 150]);
    expect(valueTicks(1e6, 5).at(-1)).toBeGreaterThanOrEqual(1.04e6);
  });

  it("are not too many, whatever is shown", () => {
    for (const span of [0.4, 7, 60, 300, 900, 3600]) {
      const { at, step } = timeTicks(1000.3, 1000.3 + span, 8);
      expect(at.length).toBeGreaterThan(0);
      expect(at.length).toBeLessThanOrEqual(9);
      expect(at.every((t) => t >= 1000.3 && t <= 1000.3 + span)).toBe(true);
      expect(step).toBeGreaterThan(0);
    }
  });
});
