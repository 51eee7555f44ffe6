// Lines on a canvas: steps, since what was told holds until the next word; never joined over what was not seen.
import type { Line, Lines } from "./series";

/** What is painted on: where a moment and a value are. */
export interface Axes {
  ctx: CanvasRenderingContext2D;
  x: (at: number) => number;
  y: (value: number) => number;
}

/**
 * The corners of a line in pixels: what was told holds until the next word (steps), and of what falls on one pixel the
 * lowest and the highest are there. `lift` begins anew after a break.
 */
export function trace(
  at: readonly number[],
  values: readonly (number | null)[],
  x: (at: number) => number,
  y: (value: number) => number,
  go: (x: number, y: number, lift: boolean) => void,
): void {
  let last: number | null = null;
  for (let i = 0; i < at.length; ) {
    const column = Math.round(x(at[i] ?? 0));
    let value = values[i] ?? null;
    if (value === null) {
      last = null;
      i += 1;
      continue;
    }
    go(column, last ?? y(value), last === null);
    let [low, high] = [value, value];
    for (; i < at.length && Math.round(x(at[i] ?? 0)) === column && values[i] != null; i++) {
      value = values[i] as number;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low !== high) {
      go(column, y(low), false);
      go(column, y(high), false);
    }
    last = y(value);
    go(column, last, false);
  }
}

export function paintLine(
  { ctx, x, y }: Axes,
  at: readonly number[],
  { values, dash }: Line,
  colour: string,
): void {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1.6;
  ctx.lineJoin = "round";
  ctx.setLineDash([...dash]);
  ctx.beginPath();
  trace(at, values, x, y, (px, py, lift) => (lift ? ctx.moveTo(px, py) : ctx.lineTo(px, py)));
  ctx.stroke();
  ctx.setLineDash([]);
}

/** Between two lines, step by step, where both are known. */
export function paintFilled({ ctx, x, y }: Axes, lines: Lines, colour: string): void {
  if (lines.filled === null) return;
  const [high, low] = lines.filled.map((i) => lines.lines[i]?.values ?? []);
  ctx.fillStyle = colour;
  ctx.beginPath();
  lines.at.forEach((at, i) => {
    const [a, b, next] = [high?.[i] ?? null, low?.[i] ?? null, lines.at[i + 1]];
    if (a === null || b === null || next === undefined) return;
    ctx.rect(x(at), y(a), Math.max(1, x(next) - x(at)), Math.max(1, y(b) - y(a)));
  });
  ctx.fill();
}
