import { describe, expect, it } from "vitest";
import { type Axes, paintFilled, paintLine } from "../src/lines";

/** A canvas that writes down what is drawn on it, with ten pixels a second and a hundred a unit. */
function canvas() {
  const drawn: [string, ...number[]][] = [];
  const write =
    (what: string) =>
    (...where: number[]) =>
      drawn.push([what, ...where]);
  const [moveTo, lineTo, rect] = [write("move"), write("line"), write("rect")];
  const [beginPath, stroke, fill] = [write("begin"), write("stroke"), write("fill")];
  const dashes: number[][] = [];
  const ctx = { moveTo, lineTo, rect, beginPath, stroke, fill, setLineDash: (d: number[]) => dashes.push(d) };
  const axes = {
    ctx: ctx as unknown as CanvasRenderingContext2D,
    x: (s: number) => s * 10,
    y: (v: number) => v * 100,
  };
  return { axes: axes satisfies Axes, drawn, dashes };
}

const line = (values: (number | null)[]) => ({ name: "n", colour: "running", dash: [6, 3], values }) as const;

describe("a line that is painted", () => {
  it("holds each value until the next, and lifts the pen over what was not seen", () => {
    const { axes, drawn, dashes } = canvas();
    paintLine(axes, [0, 1, 2, 3], line([1, 2, null, 4]), "#000");
    const pen = drawn.filter(([what]) => what === "move" || what === "line");
    expect(pen.filter(([what]) => what === "move")).toEqual([
      ["move", 0, 100],
      ["move", 30, 400],
    ]);
    expect(pen.slice(1, 4)).toEqual([
      ["line", 0, 100],
      ["line", 10, 100],
      ["line", 10, 200],
    ]);
    expect(dashes).toEqual([[6, 3], []]);
  });

  it("is filled up to another one where both are known", () => {
    const { axes, drawn } = canvas();
    const lines = [line([4, 4, null]), line([1, null, 1])];
    const of = { at: [0, 1, 2], lines, filled: [0, 1] as const, say: String };
    paintFilled(axes, of, "#000");
    expect(drawn.filter(([what]) => what === "rect")).toEqual([["rect", 0, 400, 10, 1]]);
    const before = drawn.length;
    paintFilled(axes, { ...of, filled: null }, "#000");
    expect(drawn.length).toBe(before);
  });
});
