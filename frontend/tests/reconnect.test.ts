import { expect, it } from "vitest";
import { retryDelay } from "../src/reconnect";

it("backs off to ten seconds and stays there", () => {
  expect([0, 1, 2, 3, 4, 5, 100].map((n) => retryDelay(n, 0.5))).toEqual([
    1000, 2000, 4000, 8000, 10_000, 10_000, 10_000,
  ]);
});

it("spreads viewers by a fifth either way", () => {
  expect(retryDelay(0, 0)).toBe(800);
  expect(retryDelay(4, 0.999)).toBeLessThan(12_000);
  expect(retryDelay(-1, 0.5)).toBe(1000);
});
