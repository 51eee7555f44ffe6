// Two lines over time with the waves as bands behind them, on one canvas. Dragging over it zooms, a click picks a moment.
import { clockTime, count } from "./format";
import { timeTicks, valueTicks } from "./ticks";
import type { Band, Columns } from "./timeline";

export interface Mark {
  /** Unix seconds. */
  at: number;
  kind: "restart" | "alarm" | "manual";
}

export interface Frame {
  columns: Columns;
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
  waiting: number | null;
  running: number | null;
}

export interface Listener {
  onHover(hover: Hover | null): void;
  onPick(at: number): void;
  onZoom(from: number, to: number): void;
}

const COLOURS = [
  "waiting",
  "running",
  "text",
  "text-muted",
  "grid",
  "band",
  "band-edge",
  "warn",
  "bad",
] as const;
type Colour = (typeof COLOURS)[number];

const HEIGHT = 236;
const FONT = '11px "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const LEFT = 44;
const RIGHT = 20;
const TOP = 20;
const BOTTOM = 26;
/** Fewer pixels than this between press and release are a click. */
const DRAG_PX = 5;

const MARKS: Record<Mark["kind"], [Colour, string]> = {
  restart: ["warn", "restart"],
  alarm: ["bad", "▲"],
  manual: ["text", "●"],
};

/** Custom properties resolved to colours that a canvas understands. */
export function resolveColours<T extends string>(host: HTMLElement, names: readonly T[]): Record<T, string> {
  const probe = document.createElement("span");
  host.append(probe);
  const found = {} as Record<T, string>;
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** Sizes a canvas for its screen; after it one unit is one CSS pixel. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  if (ctx === null) throw new Error("this browser gives no canvas");
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}

export class LoadChart {
  private readonly canvas = document.createElement("canvas");
  private readonly resize: ResizeObserver;
  private colours: Record<Colour, string>;
  private frame: Frame | null = null;
  private width: number;
  private pointer: number | null = null;
  private pressed: number | null = null;

  constructor(
    private readonly host: HTMLElement,
    private readonly listener: Listener,
  ) {
    host.append(this.canvas);
    this.colours = resolveColours(host, COLOURS);
    this.width = host.clientWidth || 600;
    this.resize = new ResizeObserver(() => {
      if (host.clientWidth > 0) this.width = host.clientWidth;
      this.paint();
    });
    this.resize.observe(host);
    this.listen();
  }

  draw(frame: Frame): void {
    this.frame = frame;
    this.paint();
    if (this.pointer !== null) this.tell();
  }

  /** Reads the colours again after the theme changed. */
  recolour(): void {
    this.colours = resolveColours(this.host, COLOURS);
    this.paint();
  }

  destroy(): void {
    this.resize.disconnect();
    this.canvas.remove();
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
    if (from === null || this.frame === null) return;
    const [a, b] = [this.timeAt(Math.min(from, x)), this.timeAt(Math.max(from, x))];
    if (Math.abs(x - from) < DRAG_PX) this.listener.onPick(b);
    else this.listener.onZoom(a, b);
    this.paint();
  }

  /** Unix seconds under a pixel. */
  private timeAt(x: number): number {
    const { from, to } = this.frame ?? { from: 0, to: 1 };
    const part = (x - LEFT) / (this.width - LEFT - RIGHT);
    return from + Math.min(1, Math.max(0, part)) * (to - from);
  }

  private tell(): void {
    if (this.frame === null || this.pointer === null) return;
    const [at, waiting, running] = this.frame.columns;
    const wanted = this.timeAt(this.pointer);
    const i = nearest(at, wanted);
    const found = at[i];
    this.listener.onHover(
      found === undefined ? null : { at: found, waiting: waiting[i] ?? null, running: running[i] ?? null },
    );
  }

  private paint(): void {
    const { frame, colours, width } = this;
    const ctx = prepare(this.canvas, width, HEIGHT);
    if (frame === null) return;
    const [right, bottom] = [width - RIGHT, HEIGHT - BOTTOM];
    const x = (at: number) => LEFT + ((at - frame.from) / (frame.to - frame.from)) * (right - LEFT);
    const ticks = valueTicks(highest(frame), Math.floor((bottom - TOP) / 36));
    const top = ticks.at(-1) ?? 1;
    const y = (value: number) => bottom - (value / top) * (bottom - TOP);
    ctx.font = FONT;
    ctx.save();
    ctx.beginPath();
    ctx.rect(LEFT, 0, right - LEFT, bottom + 1);
    ctx.clip();
    this.paintBands(ctx, x, bottom);
    ctx.restore();
    this.paintAxes(ctx, x, y, ticks);
    ctx.save();
    ctx.beginPath();
    ctx.rect(LEFT, 0, right - LEFT, bottom + 1);
    ctx.clip();
    // Colour-blind viewers tell the two apart by the dash as well.
    line(ctx, frame.columns[0], frame.columns[1], x, y, colours.waiting, [6, 3]);
    line(ctx, frame.columns[0], frame.columns[2], x, y, colours.running, []);
    ctx.restore();
    this.paintMarks(ctx, x, bottom);
    this.paintCursors(ctx, x, bottom);
  }

  private paintAxes(
    ctx: CanvasRenderingContext2D,
    x: (at: number) => number,
    y: (value: number) => number,
    ticks: readonly number[],
  ): void {
    const { frame, colours, width } = this;
    if (frame === null) return;
    const bottom = HEIGHT - BOTTOM;
    ctx.fillStyle = colours["text-muted"];
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    for (const tick of ticks) {
      ctx.fillStyle = colours.grid;
      ctx.fillRect(LEFT, Math.round(y(tick)), width - LEFT - RIGHT, 1);
      ctx.fillStyle = colours["text-muted"];
      ctx.fillText(count(tick), LEFT - 6, y(tick));
    }
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    const { at, step } = timeTicks(frame.from, frame.to, Math.floor((width - LEFT - RIGHT) / 72));
    for (const tick of at) {
      ctx.fillStyle = colours.grid;
      ctx.fillRect(Math.round(x(tick)), TOP, 1, bottom - TOP);
      // Seconds are said only where neighbouring ticks are less than a minute apart.
      const text = clockTime(tick);
      const label = step < 60 ? text : text.slice(0, 5);
      const half = ctx.measureText(label).width / 2;
      ctx.fillStyle = colours["text-muted"];
      ctx.fillText(label, Math.min(x(tick), width - half), bottom + 8);
    }
  }

  private paintBands(ctx: CanvasRenderingContext2D, x: (at: number) => number, bottom: number): void {
    const { frame, colours } = this;
    if (frame === null) return;
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    let labelled = Number.NEGATIVE_INFINITY;
    for (const band of [...frame.bands].sort((a, b) => a.start - b.start)) {
      const x0 = Math.max(LEFT, x(band.start));
      const span = Math.max(1, Math.min(this.width - RIGHT, x(band.end ?? frame.newest)) - x0);
      ctx.fillStyle = colours.band;
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

  private paintMarks(ctx: CanvasRenderingContext2D, x: (at: number) => number, bottom: number): void {
    const { frame, colours, width } = this;
    if (frame === null) return;
    ctx.textBaseline = "top";
    for (const mark of frame.marks) {
      const at = x(mark.at);
      if (at < LEFT || at > width - RIGHT) continue;
      const [colour, label] = MARKS[mark.kind];
      ctx.fillStyle = colours[colour];
      if (mark.kind === "restart") {
        ctx.fillRect(at, TOP, 2, bottom - TOP);
        // A restart of just now has no room for its name at the right of its line.
        const room = ctx.measureText(label).width + 8;
        ctx.textAlign = "left";
        ctx.fillText(label, at + room > width - RIGHT ? at - room + 4 : at + 6, TOP + 4);
      } else {
        ctx.textAlign = "center";
        ctx.fillText(label, at, bottom - 11);
      }
    }
  }

  private paintCursors(ctx: CanvasRenderingContext2D, x: (at: number) => number, bottom: number): void {
    const { frame, colours, pointer, pressed } = this;
    const inside = (px: number) => px >= LEFT && px <= this.width - RIGHT;
    if (frame?.moment != null && inside(x(frame.moment))) {
      ctx.fillStyle = colours.text;
      ctx.fillRect(x(frame.moment) - 1, TOP - 6, 2, bottom - TOP + 6);
      ctx.beginPath();
      ctx.arc(x(frame.moment), TOP - 6, 4, 0, 7);
      ctx.fill();
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

function highest({ columns, from, to }: Frame): number {
  let most = 0;
  for (let i = 0; i < columns[0].length; i++) {
    const at = columns[0][i] ?? 0;
    if (at >= from && at <= to) most = Math.max(most, columns[1][i] ?? 0, columns[2][i] ?? 0);
  }
  return most;
}

/** Index of the value nearest to `wanted` in an ascending list. */
export function nearest(ascending: readonly number[], wanted: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  const before = ascending[low - 1];
  return before !== undefined && wanted - before < (ascending[low] ?? 0) - wanted ? low - 1 : low;
}

/** One line; it breaks where a value is missing. */
function line(
  ctx: CanvasRenderingContext2D,
  times: readonly number[],
  values: readonly (number | null)[],
  x: (at: number) => number,
  y: (value: number) => number,
  colour: string,
  dash: number[],
): void {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1.75;
  ctx.lineJoin = "round";
  ctx.setLineDash(dash);
  ctx.beginPath();
  let broken = true;
  for (let i = 0; i < times.length; i++) {
    const value = values[i];
    if (value == null) {
      broken = true;
      continue;
    }
    if (broken) ctx.moveTo(x(times[i] ?? 0), y(value));
    else ctx.lineTo(x(times[i] ?? 0), y(value));
    broken = false;
  }
  ctx.stroke();
  ctx.setLineDash([]);
}
