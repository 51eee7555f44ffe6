// Where the lines of a chart's grid stand. Pure.

const TIME_STEPS_S = [0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600] as const;

/** Round moments between two, at most `most` of them, and the seconds from one to the next. */
export function timeTicks(from: number, to: number, most: number): { at: number[]; step: number } {
  const step = TIME_STEPS_S.find((s) => (to - from) / s <= Math.max(1, most)) ?? 3600;
  const at: number[] = [];
  // Full minutes are the same in every time zone; hours are not, but a window is no longer than one.
  for (let k = Math.ceil(from / step); k * step <= to; k++) at.push(k * step);
  return { at, step };
}

/** Round values from 0 to the first that is not below `highest` (at least 4), with about `steps` between. */
export function valueTicks(highest: number, steps: number): number[] {
  const wanted = Math.max(4, highest * 1.04);
  const rough = wanted / Math.max(1, steps);
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, ([1, 2, 5, 10].find((m) => m * magnitude >= rough) ?? 10) * magnitude);
  return Array.from({ length: Math.ceil(wanted / step) + 1 }, (_, i) => i * step);
}
