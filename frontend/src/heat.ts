// A cell per rank on a canvas, for more ranks than a table can show at once.
import { prepare, resolveColours } from "./chart";
import type { EngineRow } from "./rows";

const COLOURS = ["running", "waiting", "sunken", "line-strong", "text"] as const;
const LARGEST = 22;
const SMALLEST = 9;
const GAP = 2;
/** A grid is at most this high. */
const HIGH = 320;

export interface Layout {
  cell: number;
  columns: number;
  height: number;
}

/** The largest cells with which `ranks` of them fit a width, at a height that leaves room for the rest of the page. */
export function layOut(ranks: number, width: number): Layout {
  for (let cell = LARGEST; ; cell--) {
    const columns = Math.max(1, Math.floor((width + GAP) / (cell + GAP)));
    const height = Math.ceil(ranks / columns) * (cell + GAP) - GAP;
    if (height <= HIGH || cell === SMALLEST) return { cell, columns, height };
  }
}

/** The rank under a point of the grid; null between and behind the cells. */
export function rankAt({ cell, columns }: Layout, ranks: number, x: number, y: number): number | null {
  const column = Math.floor(x / (cell + GAP));
  if (x < 0 || y < 0 || column >= columns) return null;
  const rank = Math.floor(y / (cell + GAP)) * columns + column;
  return rank < ranks ? rank : null;
}

/** Steps of the scale. */
const SHADES = 24;

function channels(colour: string): number[] {
  return (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

/** From almost the ground to the full colour; solid, since mixing on the canvas costs more than drawing. */
function shades(ground: string, full: string): string[] {
  const [a, b] = [channels(ground), channels(full)];
  return Array.from({ length: SHADES + 1 }, (_, i) => {
    const part = i === 0 ? 0.07 : 0.16 + (0.84 * i) / SHADES;
    return `rgb(${a.map((value, k) => Math.round(value + part * ((b[k] ?? 0) - value))).join(" ")})`;
  });
}

/** Bits of what a cell looks like. */
const CHOSEN = 1;
const KEPT = 2;
const STALE = 4;

/** Whether a cell that looks so is solid to its edge and not beyond, so that another may be drawn right over it. */
function covers(look: number | undefined): boolean {
  return look !== undefined && look >= 0 && (look & (CHOSEN | KEPT)) === KEPT;
}

export class HeatGrid {
  private colours: Record<(typeof COLOURS)[number], string>;
  private scale: string[] = [];
  /** What each cell looks like, so that only those that change are drawn again. */
  private drawn: number[] = [];
  private drawnAs = "";
  private width = 0;
  layout: Layout = { cell: LARGEST, columns: 1, height: 0 };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly host: HTMLElement,
  ) {
    this.colours = resolveColours(host, COLOURS);
    this.recolour();
  }

  recolour(): void {
    this.colours = resolveColours(this.host, COLOURS);
    this.scale = shades(this.colours.sunken, this.colours.running);
    this.drawnAs = "";
  }

  measure(): void {
    this.width = this.host.clientWidth;
  }

  /** `full` is the load that fills the scale; `shown` tells which ranks the filter keeps. */
  draw(rows: readonly EngineRow[], full: number, shown: (rank: number) => boolean, marked: number[]): void {
    if (this.width === 0) this.measure();
    this.layout = layOut(rows.length, this.width || 600);
    const { cell, columns, height } = this.layout;
    const as = `${this.width} ${height} ${cell} ${window.devicePixelRatio}`;
    const fresh = as !== this.drawnAs;
    const ctx = fresh ? prepare(this.canvas, this.width, height) : this.canvas.getContext("2d");
    if (ctx === null) return;
    if (fresh) this.drawn = [];
    this.drawnAs = as;
    for (const row of rows) {
      const shade = row.load === null ? -1 : Math.ceil((SHADES * Math.min(row.load, full)) / full);
      const waits =
        row.waiting === null || row.waiting === 0 || row.load === null
          ? 0
          : Math.max(2, Math.round((cell * row.waiting) / row.load));
      const kept = shown(row.index);
      const chosen = marked.includes(row.index);
      const stale = row.status === "stale";
      const look =
        (shade << 8) | (waits << 3) | (stale ? STALE : 0) | (kept ? KEPT : 0) | (chosen ? CHOSEN : 0);
      const before = this.drawn[row.index];
      if (before === look) continue;
      this.drawn[row.index] = look;
      const x = (row.index % columns) * (cell + GAP);
      const y = Math.floor(row.index / columns) * (cell + GAP);
      if (!covers(before) || !covers(look)) ctx.clearRect(x - 1, y - 1, cell + 2, cell + 2);
      ctx.globalAlpha = kept ? 1 : 0.15;
      this.drawCell(ctx, x, y, shade, waits, stale);
      ctx.globalAlpha = 1;
      if (!chosen) continue;
      ctx.strokeStyle = this.colours.text;
      ctx.lineWidth = 2;
      ctx.strokeRect(x, y, cell, cell);
    }
  }

  /** Darker is more load; the part that waits fills from below; silence is a cross, never is a hollow cell. */
  private drawCell(
    ctx: CanvasRenderingContext2D,
    x: number,
    y: number,
    shade: number,
    waits: number,
    stale: boolean,
  ): void {
    const { colours } = this;
    const { cell } = this.layout;
    if (shade < 0) {
      ctx.strokeStyle = colours["line-strong"];
      ctx.lineWidth = 1;
      ctx.strokeRect(x + 1.5, y + 1.5, cell - 3, cell - 3);
      return;
    }
    ctx.fillStyle = this.scale[shade] ?? colours.running;
    ctx.fillRect(x, y, cell, cell - waits);
    if (waits > 0) {
      ctx.fillStyle = colours.waiting;
      ctx.fillRect(x, y + cell - waits, cell, waits);
    }
    if (!stale) return;
    ctx.strokeStyle = colours.text;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.moveTo(x + 2, y + 2);
    ctx.lineTo(x + cell - 2, y + cell - 2);
    ctx.moveTo(x + cell - 2, y + 2);
    ctx.lineTo(x + 2, y + cell - 2);
    ctx.stroke();
  }
}
