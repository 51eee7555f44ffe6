// A cell per rank on a canvas: as large as there is room for, in rows of 8, 16, 32, ... so that ranks are found.
import { prepare, resolveColours } from "./hosted";
import type { EngineRow } from "./rows";
import {
  type ColourBy,
  css,
  isLight,
  LEVELS,
  levelOf,
  NEVER,
  paletteOf,
  type Rgb,
  SCALE_COLOURS,
} from "./scale";

const COLOURS = [...SCALE_COLOURS, "line-strong", "text", "bad"] as const;
const WIDEST = 190;
const HIGHEST = 120;
const SMALLEST = 4;
const GAP = 2;
/** At the left of each row stands its first rank. */
const EDGE = 34;
/** Cells of so many pixels have their rank in them, and larger ones their requests, too. */
const LABEL_WIDE = 22;
const LABEL_HIGH = 13;
const NUMBER_WIDE = 34;
const NUMBER_HIGH = 30;
const FAMILY = '"Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

export interface Layout {
  /** Width and height of a cell, and from where it is drawn. */
  wide: number;
  high: number;
  columns: number;
  left: number;
  /** Of the whole. */
  height: number;
}

/** The largest cells with which `ranks` of them fit; where none do it is as low as can be, and higher than its room. */
export function layOut(ranks: number, width: number, height: number): Layout {
  let best: Layout | null = null;
  let most = Number.NEGATIVE_INFINITY;
  for (let columns = 2; columns <= 1024; columns *= 2) {
    const rows = Math.ceil(ranks / columns);
    const one = candidate(columns, rows, width, height);
    if (one.wide < SMALLEST) break;
    const worth = one.height > height ? -one.height : Math.min(one.wide, 2 * one.high) * one.high;
    if (worth > most) [best, most] = [one, worth];
    if (columns >= ranks) break;
  }
  return best ?? { wide: SMALLEST, high: SMALLEST, columns: 1, left: EDGE, height: ranks * (SMALLEST + GAP) };
}

function candidate(columns: number, rows: number, width: number, height: number): Layout {
  const wide = Math.min(WIDEST, Math.floor((width - EDGE + GAP) / columns) - GAP);
  const room = Math.floor((height + GAP) / rows) - GAP;
  const high = Math.max(SMALLEST, Math.min(HIGHEST, Math.ceil(wide * 1.3), room));
  return { wide, high, columns, left: EDGE, height: rows * (high + GAP) - GAP };
}

/** The rank under a point of the grid; null beside the cells. */
export function rankAt(
  { wide, high, columns, left }: Layout,
  ranks: number,
  x: number,
  y: number,
): number | null {
  const column = Math.floor((x - left) / (wide + GAP));
  if (x < left || y < 0 || column >= columns) return null;
  const rank = Math.floor(y / (high + GAP)) * columns + column;
  return rank < ranks ? rank : null;
}

export interface Shown {
  by: ColourBy;
  /** The count that fills the scale. */
  full: number;
  mean: number;
  /** Whether the filter keeps a rank. */
  kept: (rank: number) => boolean;
  /** The rank under the pointer and the one that is chosen. */
  marked: readonly number[];
  /** Ranks that alarms name. */
  named: ReadonlySet<number>;
}

/** What one cell looks like. */
interface Look {
  level: number;
  waits: number;
  number: string;
  gone: boolean;
  named: boolean;
  kept: boolean;
  chosen: boolean;
}

export class HeatGrid {
  private colours: Record<(typeof COLOURS)[number], string>;
  private palette: Rgb[] = [];
  /** What each cell looks like, in a number and what stands in it, so that only those that change are drawn again. */
  private drawn: number[] = [];
  private written: string[] = [];
  private drawnAs = "";
  private width = 0;
  private room = 0;
  layout: Layout = { wide: 8, high: 8, columns: 1, left: EDGE, height: 0 };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly host: HTMLElement,
  ) {
    this.colours = resolveColours(host, COLOURS);
  }

  recolour(): void {
    this.colours = resolveColours(this.host, COLOURS);
    this.drawnAs = "";
  }

  measure(): void {
    this.width = this.host.clientWidth;
    this.room = this.host.clientHeight;
  }

  draw(rows: readonly EngineRow[], shown: Shown): void {
    if (this.width === 0) this.measure();
    this.layout = layOut(rows.length, this.width || 600, this.room || 280);
    const { height } = this.layout;
    const as = [
      this.width,
      height,
      rows.length,
      this.layout.columns,
      shown.by,
      window.devicePixelRatio,
    ].join();
    const fresh = as !== this.drawnAs;
    const ctx = fresh ? prepare(this.canvas, this.width, height) : this.canvas.getContext("2d");
    if (ctx === null) return;
    if (fresh) this.begin(ctx, rows.length, shown.by);
    this.drawnAs = as;
    for (const row of rows) this.update(ctx, row, shown);
  }

  private begin(ctx: CanvasRenderingContext2D, ranks: number, by: ColourBy): void {
    const { columns, high } = this.layout;
    this.drawn = [];
    this.written = [];
    this.palette = paletteOf(by, this.colours);
    ctx.fillStyle = this.colours["text-muted"];
    ctx.font = `10.5px ${FAMILY}`;
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    const every = Math.max(1, Math.ceil(13 / (high + GAP)));
    for (let row = 0; row * columns < ranks; row += every) {
      ctx.fillText(String(row * columns), EDGE - 7, Math.max(6, row * (high + GAP) + high / 2 + 1));
    }
  }

  private update(ctx: CanvasRenderingContext2D, row: EngineRow, shown: Shown): void {
    const { wide, high, columns, left } = this.layout;
    const look = this.look(row, shown);
    const flags = +look.gone + 2 * +look.named + 4 * +look.kept + 8 * +look.chosen;
    const key = look.level + LEVELS * (flags + 16 * look.waits);
    if (this.drawn[row.index] === key && this.written[row.index] === look.number) return;
    this.drawn[row.index] = key;
    this.written[row.index] = look.number;
    const x = left + (row.index % columns) * (wide + GAP);
    const y = Math.floor(row.index / columns) * (high + GAP);
    ctx.clearRect(x - 1, y - 1, wide + 2, high + 2);
    ctx.globalAlpha = look.kept ? 1 : 0.15;
    this.fill(ctx, x, y, look);
    if (wide >= LABEL_WIDE && high >= LABEL_HIGH) this.label(ctx, x, y, row.index, look);
    this.mark(ctx, x, y, look);
    ctx.globalAlpha = 1;
  }

  private look(row: EngineRow, { by, full, mean, kept, marked, named }: Shown): Look {
    const { status, waiting, running, kvCacheUsage: kv } = row;
    const { wide, high } = this.layout;
    const level = levelOf(by, { status, waiting, running, kv }, full, mean);
    // To the scale of the colours, not of the cell: one of two that waits is no hundred of two hundred.
    const part = by !== "requests" || status === "gone" ? 0 : Math.min(1, (waiting ?? 0) / full);
    const roomy = wide >= NUMBER_WIDE && high >= NUMBER_HIGH;
    return {
      level,
      waits: Math.round(high * part),
      number: roomy ? numberOf(by, row, mean) : "",
      gone: status === "gone",
      named: named.has(row.index),
      kept: kept(row.index),
      chosen: marked.includes(row.index),
    };
  }

  /** Darker is more; what waits fills from below; never reported is hollow. */
  private fill(ctx: CanvasRenderingContext2D, x: number, y: number, { level, waits, gone }: Look): void {
    const { wide, high } = this.layout;
    if (gone || level === NEVER) {
      ctx.strokeStyle = this.colours["line-strong"];
      ctx.lineWidth = 1;
      ctx.strokeRect(x + 0.5, y + 0.5, wide - 1, high - 1);
      return;
    }
    ctx.fillStyle = css(this.palette[level]);
    ctx.fillRect(x, y, wide, high - waits);
    if (waits === 0) return;
    ctx.fillStyle = this.colours.waiting;
    ctx.fillRect(x, y + high - waits, wide, waits);
  }

  private label(ctx: CanvasRenderingContext2D, x: number, y: number, rank: number, look: Look): void {
    const { wide, high } = this.layout;
    const ground = this.palette[look.level];
    const empty = look.gone || look.level === NEVER || ground === undefined;
    ctx.fillStyle = empty ? this.colours["text-muted"] : isLight(ground) ? "#10151c" : "#ffffff";
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    ctx.font = `10px ${FAMILY}`;
    if (look.number === "") {
      ctx.fillText(String(rank), x + 3, y + 3);
      return;
    }
    ctx.fillText(String(rank), x + 4, y + 4);
    ctx.font = `600 ${high >= 48 ? 17 : 13}px ${FAMILY}`;
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    ctx.fillText(look.number, x + wide - 5, y + high * 0.62);
  }

  /** Named by an alarm is an outline with a corner, gone is a cross, chosen is an outline in the colour of text. */
  private mark(ctx: CanvasRenderingContext2D, x: number, y: number, { gone, named, chosen }: Look): void {
    const { wide, high } = this.layout;
    const { colours } = this;
    if (gone) {
      const [side, top] = [Math.min(wide, high, 22) / 2 - 2, y + high / 2];
      const middle = x + wide / 2;
      ctx.strokeStyle = colours.bad;
      ctx.lineWidth = 2;
      ctx.beginPath();
      ctx.moveTo(middle - side, top - side);
      ctx.lineTo(middle + side, top + side);
      ctx.moveTo(middle + side, top - side);
      ctx.lineTo(middle - side, top + side);
      ctx.stroke();
    }
    if (named) {
      const corner = Math.max(4, Math.min(9, wide / 2));
      ctx.fillStyle = ctx.strokeStyle = colours.bad;
      ctx.lineWidth = 2;
      ctx.strokeRect(x + 1, y + 1, wide - 2, high - 2);
      ctx.beginPath();
      ctx.moveTo(x + wide - corner, y);
      ctx.lineTo(x + wide, y);
      ctx.lineTo(x + wide, y + corner);
      ctx.fill();
    }
    if (!chosen) return;
    ctx.strokeStyle = colours.text;
    ctx.lineWidth = 2;
    ctx.strokeRect(x, y, wide, high);
  }
}

/** What stands in a large cell. */
function numberOf(by: ColourBy, row: EngineRow, mean: number): string {
  if (row.status === "gone") return "gone";
  const { load, waiting, kvCacheUsage } = row;
  if (by === "state") return row.status;
  if (by === "kv") return kvCacheUsage === null ? "—" : `${Math.round(100 * kvCacheUsage)} %`;
  if (by === "waiting") return waiting === null ? "—" : String(waiting);
  if (load === null) return "—";
  return by === "requests" ? String(load) : mean > 0 ? `${(load / mean).toFixed(1)}×` : "—";
}
