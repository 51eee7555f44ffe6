// A cell per rank on a canvas, for more ranks than a table can show at once.
import { prepare, resolveColours } from "./chart";
import type { EngineRow } from "./staleness";

const COLOURS = ["running", "waiting", "sunken", "line-strong", "text", "warn", "text-muted"] as const;
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

export class HeatGrid {
  private colours: Record<(typeof COLOURS)[number], string>;
  private width = 0;
  layout: Layout = { cell: LARGEST, columns: 1, height: 0 };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly host: HTMLElement,
  ) {
    this.colours = resolveColours(host, COLOURS);
  }

  recolour(): void {
    this.colours = resolveColours(this.host, COLOURS);
  }

  measure(): void {
    this.width = this.host.clientWidth;
  }

  /** `full` is the load that fills the scale; `shown` tells which ranks the filter keeps. */
  draw(rows: readonly EngineRow[], full: number, shown: (rank: number) => boolean, marked: number[]): void {
    if (this.width === 0) this.measure();
    this.layout = layOut(rows.length, this.width || 600);
    const { cell, columns, height } = this.layout;
    const ctx = prepare(this.canvas, this.width, height);
    for (const row of rows) {
      const x = (row.index % columns) * (cell + GAP);
      const y = Math.floor(row.index / columns) * (cell + GAP);
      ctx.globalAlpha = shown(row.index) ? 1 : 0.15;
      this.drawCell(ctx, row, x, y, full);
    }
    ctx.globalAlpha = 1;
    ctx.strokeStyle = this.colours.text;
    ctx.lineWidth = 2;
    for (const rank of marked) {
      if (rank >= rows.length) continue;
      const y = Math.floor(rank / columns) * (cell + GAP);
      ctx.strokeRect((rank % columns) * (cell + GAP), y, cell, cell);
    }
  }

  /** Darker is more load; the part that waits fills from below; silence is a cross, never is a hollow cell. */
  private drawCell(ctx: CanvasRenderingContext2D, row: EngineRow, x: number, y: number, full: number): void {
    const { colours } = this;
    const { cell } = this.layout;
    const alpha = ctx.globalAlpha;
    if (row.load === null) {
      ctx.strokeStyle = colours["line-strong"];
      ctx.lineWidth = 1;
      ctx.strokeRect(x + 1.5, y + 1.5, cell - 3, cell - 3);
      return;
    }
    ctx.fillStyle = colours.sunken;
    ctx.fillRect(x, y, cell, cell);
    ctx.fillStyle = colours.running;
    ctx.globalAlpha = alpha * (row.load === 0 ? 0.08 : 0.16 + 0.84 * Math.min(1, row.load / full));
    ctx.fillRect(x, y, cell, cell);
    ctx.globalAlpha = alpha;
    if (row.waiting !== null && row.waiting > 0) {
      const part = Math.max(2, Math.round((cell * row.waiting) / Math.max(1, row.load)));
      ctx.fillStyle = colours.waiting;
      ctx.fillRect(x, y + cell - part, cell, part);
    }
    if (row.status !== "stale") return;
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
