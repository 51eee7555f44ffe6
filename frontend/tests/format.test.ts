import { expect, it } from "vitest";
import { clockTime, count, duration, moment, NEVER, percent, ratio, restartText } from "../src/format";
import { switchZone, zoneName } from "../src/zone";

it("never-reported is never a zero", () => {
  for (const text of [count(null), percent(null), duration(null), clockTime(null), ratio(null, 3)]) {
    expect(text).toBe(NEVER);
  }
  expect(count(0)).toBe("0");
  expect(percent(0)).toBe("0 %");
});

it.each([
  [0, "0 ms"],
  [0.0841, "84 ms"],
  [0.256, "260 ms"],
  [0.9996, "1.0 s"],
  [4.23, "4.2 s"],
  [9.96, "10 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [187, "3 min 07 s"],
  [3599.7, "1 h 00 min"],
  [7500, "2 h 05 min"],
  [273_600, "3 d 4 h"],
  [-3, "0 ms"],
  [Number.NaN, NEVER],
])("%d seconds last %s", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});

it("numbers and shares", () => {
  expect(count(11_788)).toBe("11 788");
  expect(count(1024)).toBe("1024"); // as the coordinator's own sentences say it
  expect([0.004, 0.057, 0.42, 1].map(percent)).toEqual(["0.4 %", "5.7 %", "42 %", "100 %"]);
  expect([ratio(9, 5), ratio(0, 5), ratio(0, 0)]).toEqual(["1.8×", "0.0×", NEVER]);
});

it("moments of another day carry the day", () => {
  const at = new Date(2026, 4, 3, 14, 2, 11, 84).getTime() / 1000;
  expect(moment(at, at + 60, true)).toBe("14:02:11.084");
  expect(moment(at, at + 86_400)).toBe("3 May 14:02:11");
  expect(moment(at, at + 400 * 86_400)).toBe("3 May 2026 14:02:11");
});

it("times are the viewer's own, or UTC by choice, and the zone has a name", () => {
  const at = Date.UTC(2026, 4, 3, 23, 30) / 1000;
  switchZone();
  expect([clockTime(at), zoneName(at)]).toEqual(["23:30:00", "UTC"]);
  expect(moment(at, at + 3600)).toBe("3 May 23:30:00");
  switchZone();
  expect(clockTime(at)).toBe(new Date(at * 1000).toTimeString().slice(0, 8));
  expect(zoneName(at)).toMatch(/^[A-Z]/);
});

it("counts restarts and says when the last was", () => {
  expect(restartText(1, "14:02")).toBe("1 restart at 14:02");
  expect(restartText(3, "14:02")).toBe("3 restarts, the last at 14:02");
});
