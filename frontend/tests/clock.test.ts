import { expect, it } from "vitest";
import { makeClock } from "../src/clock";

it("counts sleep, and never runs backwards when the wall clock is set", () => {
  let monotonic = 100;
  let wall = 1_000_000;
  const clock = makeClock(
    () => monotonic,
    () => wall,
  );
  const pass = (monotonicMs: number, wallMs: number) => {
    monotonic += monotonicMs;
    wall += wallMs;
    return clock();
  };
  expect(pass(200, 200)).toBe(300);
  expect(pass(200, 900)).toBe(500);
  expect(pass(200, 3_600_200)).toBe(3_600_700);
  expect(pass(200, -50_000)).toBe(3_600_900);
  expect(pass(200, 200)).toBe(3_601_100);
});
