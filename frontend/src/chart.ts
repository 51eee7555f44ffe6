// Lines over time with the waves as bands behind them, on one canvas. Dragging over it zooms, a click picks a moment.
import { clockTime } from "./format";
import { FONT, Hosted, prepare } from "./hosted";
import { type Axes, paintFilled, paintLine } from "./lines";
import type { Lines } from "./series";
import { timeTicks, valueTicks } from "./ticks";
import { type Band, lastUpTo } from "./timeline";
import { zoneName } from "./zone";

export interface Mark {
  /** Unix seconds. */
  at: number;
  kind: "restart" | "alarm" | "manual";
  /** Ranks that it is about. */
  ranks: readonly number[];
}

export interface ChartData {
  lines: Lines;
  bands: readonly Band[];
  marks: readonly Mark[];
  /** Unix seconds of the left and right edge. */
  from: number;
  to: number;
  /** Where the newest data ends: an open wave is drawn no further. */
  newest: number;
  /** The moment that the page shows when it is not the present. */
  moment: number | null;
}

export interface Hover {
  at: number;
  /** Of each line. */
  values: (number | null)[];
}

export interface ChartListener {
  onHover(hover: Hover | null): void;
  onPick(at: number): void;
  onZoom(from: number, to: number): void;
}

const COLOURS = [
  "waiting",
  "running",
  "kv",
  "spread",
  "text",
  "text-muted",
  "grid",
  "band",
  "band-edge",
  "warn",
  "bad",
] as const;
type Colour = (typeof COLOURS)[number];

/** Where the plane begins and ends: the map below has the same axis. */
export const LEFT = 56;
export const RIGHT = 20;
const TOP = 16;
const BOTTOM = 22;
/** Fewer pixels than this between press and release are a click. */
const DRAG_PX = 5;

const MARKS: Record<Mark["kind"], [Colour, string]> = {
  restart: ["warn", "restart"],
  alarm: ["bad", "▲"],
  manual: ["text", "●"],
};

/** What is painted on: where a moment and a value are, and where the right and the lower edge. */
interface Plane extends Axes {
  data: ChartData;
  right: number;
  bottom: number;
}

export class LoadChart extends Hosted<Colour, ChartData> {
  private pointer: number | null = null;
  private pressed: number | null = null;

  constructor(
    host: HTMLElement,
    private readonly listener: ChartListener,
  ) {
    super(host, COLOURS);
    this.listen();
  }

  override draw(data: ChartData): void {
    super.draw(data);
    if (this.pointer !== null) this.tell();
  }

  private listen(): void {
    const { canvas } = this;
    const x = (event: PointerEvent) => event.clientX - canvas.getBoundingClientRect().left;
    canvas.onpointermove = (event) => {
      this.pointer = x(event);
      this.tell();
      this.paint();
    };
    canvas.onpointerleave = () => {
      if (this.pressed !== null) return;
      this.pointer = null;
      this.listener.onHover(null);
      this.paint();
    };
    canvas.onpointerdown = (event) => {
      if (event.button !== 0) return;
      this.pressed = this.pointer = x(event);
      canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointercancel = () => {
      this.pressed = null;
      this.paint();
    };
    canvas.onpointerup = (event) => this.released(x(event));
  }

  private released(x: number): void {
    const from = this.pressed;
    this.pressed = null;
    if (from === null || this.data === null) return;
    const [a, b] = [this.timeAt(Math.min(from, x)), this.timeAt(Math.max(from, x))];
    if (Math.abs(x - from) < DRAG_PX) this.listener.onPick(b);
    else this.listener.onZoom(a, b);
    this.paint();
  }

  /** Unix seconds under a pixel. */
  private timeAt(x: number): number {
    const { from, to } = this.data ?? { from: 0, to: 1 };
    const part = (x - LEFT) / (this.width - LEFT - RIGHT);
    return from + Math.min(1, Math.max(0, part)) * (to - from);
  }

  private tell(): void {
    if (this.data === null || this.pointer === null) return;
    this.listener.onHover(valuesAt(this.data.lines, this.timeAt(this.pointer)));
  }

  protected override paint(): void {
    const { data, colours, width, height } = this;
    const ctx = prepare(this.canvas, width, height);
    if (data === null) return;
    const [right, bottom] = [width - RIGHT, height - BOTTOM];
    const x = (at: number) => LEFT + ((at - data.from) / (data.to - data.from)) * (right - LEFT);
    const ticks = valueTicks(highest(data), Math.floor((bottom - TOP) / 30));
    const top = ticks.at(-1) ?? 1;
    const y = (value: number) => bottom - (value / top) * (bottom - TOP);
    const plane: Plane = { ctx, data, x, y, right, bottom };
    ctx.font = FONT;
    clipped(plane, () => this.paintBands(plane));
    this.paintAxes(plane, ticks);
    clipped(plane, () => {
      paintFilled(plane, data.lines, colours.spread);
      for (const line of data.lines.lines) paintLine(plane, data.lines.at, line, colours[line.colour]);
    });
    this.paintMarks(plane);
    this.paintCursors(plane);
  }

  private paintAxes({ ctx, data, x, y, right, bottom }: Plane, ticks: readonly number[]): void {
    const { colours } = this;
    ctx.fillStyle = colours["text-muted"];
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    for (const tick of ticks) {
      ctx.fillStyle = colours.grid;
      ctx.fillRect(LEFT, Math.round(y(tick)), right - LEFT, 1);
      ctx.fillStyle = colours["text-muted"];
      ctx.fillText(data.lines.say(tick), LEFT - 6, y(tick));
    }
    ctx.textBaseline = "top";
    ctx.fillText(zoneName(data.to), LEFT - 22, bottom + 6);
    ctx.textAlign = "center";
    const { at, step } = timeTicks(data.from, data.to, Math.floor((right - LEFT) / 72));
    for (const tick of at) {
      ctx.fillStyle = colours.grid;
      ctx.fillRect(Math.round(x(tick)), TOP, 1, bottom - TOP);
      // Seconds are said only where neighbouring ticks are less than a minute apart.
      const text = clockTime(tick);
      const label = step < 60 ? text : text.slice(0, 5);
      const half = ctx.measureText(label).width / 2;
      if (x(tick) - half < LEFT) continue; // the zone's name stands there
      ctx.fillStyle = colours["text-muted"];
      ctx.fillText(label, Math.min(x(tick), this.width - half), bottom + 6);
    }
  }

  private paintBands({ ctx, data, x, right, bottom }: Plane): void {
    const { colours } = this;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    let labelled = Number.NEGATIVE_INFINITY;
    for (const band of [...data.bands].sort((a, b) => a.start - b.start)) {
      const x0 = Math.max(LEFT, x(band.start));
      const span = Math.max(1, Math.min(right, x(band.end ?? data.newest)) - x0);
      ctx.fillStyle = band.info.confirmed ? colours.band : colours.grid;
      ctx.fillRect(x0, TOP, span, bottom - TOP);
      ctx.fillStyle = colours["band-edge"];
      ctx.fillRect(x0, TOP, span, 2);
      // Numbers stand above their bands as far as they do not run into each other.
      const label = String(band.wave);
      const wide = ctx.measureText(label).width + 6;
      if (span > wide && x0 > labelled) {
        ctx.fillStyle = colours["text-muted"];
        ctx.fillText(label, x0 + 2, TOP - 2);
        labelled = x0 + wide;
      }
    }
  }

  private paintMarks({ ctx, data, x, right, bottom }: Plane): void {
    const { colours } = this;
    ctx.textBaseline = "top";
    for (const mark of data.marks) {
      const at = x(mark.at);
      if (at < LEFT || at > right) continue;
      const [colour, label] = MARKS[mark.kind];
      ctx.fillStyle = colours[colour];
      if (mark.kind === "restart") {
        ctx.fillRect(at, TOP, 2, bottom - TOP);
        // A restart of just now has no room for its name at the right of its line.
        const room = ctx.measureText(label).width + 8;
        ctx.textAlign = "left";
        ctx.fillText(label, at + room > right ? at - room + 4 : at + 6, TOP + 4);
      } else {
        ctx.textAlign = "center";
        ctx.fillText(label, at, bottom - 11);
      }
    }
  }

  private paintCursors({ ctx, data, x, right, bottom }: Plane): void {
    const { colours, pointer, pressed } = this;
    const inside = (px: number) => px >= LEFT && px <= right;
    const moment = data.moment === null ? Number.NaN : x(data.moment);
    if (inside(moment)) {
      ctx.fillStyle = colours.text;
      ctx.fillRect(moment - 1, TOP - 6, 2, bottom - TOP + 6);
      ctx.beginPath();
      ctx.arc(moment, TOP - 6, 4, 0, 7);
      ctx.fill();
    }
    if (this.elsewhere !== null && inside(x(this.elsewhere))) {
      ctx.fillStyle = colours["text-muted"];
      ctx.fillRect(Math.round(x(this.elsewhere)), TOP, 1, bottom - TOP);
    }
    if (pointer === null || !inside(pointer)) return;
    if (pressed !== null && Math.abs(pointer - pressed) >= DRAG_PX) {
      ctx.globalAlpha = 0.18;
      ctx.fillStyle = colours.text;
      ctx.fillRect(Math.min(pointer, pressed), TOP, Math.abs(pointer - pressed), bottom - TOP);
      ctx.globalAlpha = 1;
    }
    ctx.fillStyle = colours["text-muted"];
    ctx.fillRect(Math.round(pointer), TOP, 1, bottom - TOP);
  }
}

function highest({ lines: { at, lines }, from, to }: ChartData): number {
  let most = 0;
  for (let i = 0; i < at.length; i++) {
    const moment = at[i] ?? 0;
    if (moment < from || moment > to) continue;
    for (const { values } of lines) most = Math.max(most, values[i] ?? 0);
  }
  return most;
}

/** What the lines say at a moment: what was so then is what was told last before it. */
function valuesAt({ at, lines }: Lines, moment: number): Hover | null {
  const i = Math.max(
    0,
    lastUpTo(at, moment, (value) => value),
  );
  const found = at[i];
  return found === undefined ? null : { at: found, values: lines.map(({ values }) => values[i] ?? null) };
}

function clipped({ ctx, right, bottom }: Plane, paint: () => void): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(LEFT, 0, right - LEFT, bottom + 1);
  ctx.clip();
  paint();
  ctx.restore();
}
