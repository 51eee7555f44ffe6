// The rank × time map on its canvas: a row per rank, or per few ranks; time on the axis of the load chart above it.
import { LEFT, type Mark, RIGHT } from "./chart";
import { FONT, Hosted, prepare } from "./hosted";
import type { PackedState } from "./packed";
import { type Columns, type Look, paintInto, placeStates, ranksARow, worstAt } from "./rankmap";
import { type ColourBy, paletteOf, type Rgb, SCALE_COLOURS } from "./scale";
import type { Band } from "./timeline";

const COLOURS = [...SCALE_COLOURS, "text", "grid", "band-edge", "line-strong", "bad"] as const;
/** Above the rows: waves as bands, alarms as marks. */
const TOP = 16;
const LANE = 5;
/** Rows of so many pixels have lines between them. */
const LINED = 9;
/** Of an alarm that names more ranks not every row is marked. */
const MARKED = 64;

export interface MapData {
  states: readonly PackedState[];
  /** Seconds for which a state stands when no other follows. */
  holds: number;
  ranks: number;
  by: ColourBy;
  full: number;
  bands: readonly Band[];
  marks: readonly Mark[];
  /** Ranks that alarms name now. */
  named: ReadonlySet<number>;
  chosen: number | null;
  from: number;
  to: number;
  newest: number;
  moment: number | null;
}

/** What is under the pointer: the worst of the ranks that share the row, and what it had. */
export interface MapHover {
  at: number;
  /** First and last rank of the row. */
  ranks: [number, number];
  worst: { state: PackedState; rank: number } | null;
}

export interface MapListener {
  onHover(hover: MapHover | null): void;
  onPick(at: number, rank: number): void;
}

export class RankMap extends Hosted<(typeof COLOURS)[number], MapData> {
  private readonly picture = document.createElement("canvas");
  private columns: Columns = { first: new Int32Array(), end: new Int32Array() };
  private pointer: { x: number; y: number } | null = null;

  constructor(
    host: HTMLElement,
    private readonly listener: MapListener,
  ) {
    super(host, COLOURS);
    this.listen();
  }

  override draw(data: MapData): void {
    super.draw(data);
    if (this.pointer !== null) this.tell();
  }

  private listen(): void {
    const { canvas } = this;
    canvas.onpointermove = (event) => {
      this.pointer = { x: event.offsetX, y: event.offsetY };
      this.tell();
      this.paintOver();
    };
    canvas.onpointerleave = () => {
      this.pointer = null;
      this.listener.onHover(null);
      this.paintOver();
    };
    canvas.onclick = (event) => {
      this.pointer = { x: event.offsetX, y: event.offsetY };
      const found = this.under();
      if (found !== null) this.listener.onPick(found.at, found.worst?.rank ?? found.ranks[0]);
    };
  }

  private get rows(): number {
    const ranks = this.data?.ranks ?? 1;
    return Math.ceil(ranks / ranksARow(ranks, Math.floor(this.height - TOP)));
  }

  private get rowHigh(): number {
    return (this.height - TOP) / this.rows;
  }

  private get look(): Look {
    return { by: this.data?.by ?? "requests", full: this.data?.full ?? 1, rows: this.rows };
  }

  private under(): MapHover | null {
    const { data, pointer } = this;
    const wide = this.width - LEFT - RIGHT;
    if (data === null || pointer === null) return null;
    const column = Math.floor(pointer.x - LEFT);
    const row = Math.min(this.rows - 1, Math.max(0, Math.floor((pointer.y - TOP) / this.rowHigh)));
    if (column < 0 || column >= wide) return null;
    const each = ranksARow(data.ranks, Math.floor(this.height - TOP));
    const worst = worstAt(data.states, this.columns, column, row, this.look);
    return {
      // Within the second: of several states in a column the worst is meant.
      at: worst?.state.at ?? data.from + ((column + 0.5) / wide) * (data.to - data.from),
      ranks: [row * each, Math.min(data.ranks, (row + 1) * each) - 1],
      worst,
    };
  }

  private tell(): void {
    this.listener.onHover(this.under());
  }

  /** The rows, as a picture that is kept: the pointer moves over it. */
  protected override paint(): void {
    const { data } = this;
    const wide = Math.max(1, Math.floor(this.width - LEFT - RIGHT));
    if (data === null || data.ranks === 0) return;
    const { rows } = this;
    if (this.picture.width !== wide) this.picture.width = wide;
    if (this.picture.height !== rows) this.picture.height = rows;
    const ctx = this.picture.getContext("2d");
    if (ctx === null) return;
    const image = ctx.createImageData(wide, rows);
    this.columns = placeStates(data.states, data.from, data.to, wide, data.holds);
    const palette = wordsOf(paletteOf(data.by, this.colours));
    paintInto(new Uint32Array(image.data.buffer), data.states, this.columns, this.look, palette);
    ctx.putImageData(image, 0, 0);
    this.paintOver();
  }

  /** All that is drawn over the rows and beside them. */
  protected override paintOver(): void {
    const { data, width, height } = this;
    const ctx = prepare(this.canvas, width, height);
    if (data === null) return;
    const x = (at: number) => LEFT + ((at - data.from) / (data.to - data.from)) * (width - LEFT - RIGHT);
    ctx.font = FONT;
    this.paintUnseen(ctx, x(Math.min(data.to, data.newest)));
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(this.picture, LEFT, TOP, width - LEFT - RIGHT, height - TOP);
    this.paintRanks(ctx, data);
    this.paintLane(ctx, data, x);
    this.paintCursors(ctx, data, x);
  }

  /** Hatched where nothing was seen. */
  private paintUnseen(ctx: CanvasRenderingContext2D, right: number): void {
    const { height, colours } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(LEFT, TOP, Math.max(0, right - LEFT), height - TOP);
    ctx.clip();
    ctx.strokeStyle = colours.grid;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let x = LEFT - height; x < right; x += 8) {
      ctx.moveTo(x, height);
      ctx.lineTo(x + height, 0);
    }
    ctx.stroke();
    ctx.restore();
  }

  private paintRanks(ctx: CanvasRenderingContext2D, { ranks, named, chosen }: MapData): void {
    const { colours, width, rowHigh } = this;
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    ctx.fillStyle = colours["text-muted"];
    const y = (rank: number) => TOP + (rank / ranks) * (this.height - TOP);
    let step = 1;
    while (step * (y(1) - y(0)) < 18) step *= 2;
    for (let rank = 0; rank < ranks; rank += step) {
      ctx.fillText(String(rank), LEFT - 8, y(rank) + Math.max(5, (y(1) - y(0)) / 2));
    }
    if (rowHigh >= LINED) {
      ctx.fillStyle = colours.surface;
      for (let rank = 1; rank < ranks; rank++)
        ctx.fillRect(LEFT, Math.round(y(rank)), width - LEFT - RIGHT, 1);
    }
    // What alarms name is marked beside its row.
    ctx.fillStyle = colours.bad;
    for (const rank of named) arrow(ctx, width - RIGHT + 2, (y(rank) + y(rank + 1)) / 2, -1);
    if (chosen === null || chosen >= ranks) return;
    ctx.fillStyle = colours.text;
    arrow(ctx, LEFT - 2, (y(chosen) + y(chosen + 1)) / 2, 1);
  }

  private paintLane(ctx: CanvasRenderingContext2D, data: MapData, x: (at: number) => number): void {
    const { colours, width } = this;
    const right = width - RIGHT;
    for (const { start, end, info } of data.bands) {
      const x0 = Math.max(LEFT, x(start));
      const x1 = Math.min(right, x(end ?? data.newest));
      ctx.fillStyle = info.confirmed ? colours["band-edge"] : colours["line-strong"];
      // A pixel between one wave and the next.
      ctx.fillRect(x0, TOP - LANE - 1, Math.max(1, x1 - x0 - 1), LANE);
    }
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    ctx.fillStyle = colours.bad;
    for (const { at, kind, ranks } of data.marks) {
      const px = x(at);
      if (kind !== "alarm" || px < LEFT || px > right) continue;
      ctx.fillText("▼", px, 0);
      for (const rank of ranks.slice(0, MARKED)) {
        arrow(ctx, px - 1, TOP + ((rank + 0.5) / data.ranks) * (this.height - TOP), 1);
      }
    }
  }

  private paintCursors(ctx: CanvasRenderingContext2D, { moment }: MapData, x: (at: number) => number): void {
    const { colours, pointer, elsewhere, width, height } = this;
    const line = (px: number, wide: number, colour: string) => {
      if (px < LEFT || px > width - RIGHT) return;
      ctx.fillStyle = colour;
      ctx.fillRect(Math.round(px - wide / 2), TOP - 8, wide, height - TOP + 8);
    };
    if (moment !== null) line(x(moment), 2, colours.text);
    if (pointer !== null) line(pointer.x, 1, colours.text);
    else if (elsewhere !== null) line(x(elsewhere), 1, colours["text-muted"]);
    if (pointer === null || pointer.y < TOP) return;
    const row = Math.floor((pointer.y - TOP) / this.rowHigh);
    ctx.strokeStyle = colours.text;
    ctx.lineWidth = 1;
    ctx.strokeRect(LEFT, TOP + row * this.rowHigh - 0.5, width - LEFT - RIGHT, Math.max(2, this.rowHigh) + 1);
  }
}

function arrow(ctx: CanvasRenderingContext2D, x: number, y: number, to: 1 | -1): void {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x - 6 * to, y - 4);
  ctx.lineTo(x - 6 * to, y + 4);
  ctx.fill();
}

/** As pixels of a picture; what was not seen is transparent. */
function wordsOf(palette: readonly Rgb[]): Uint32Array {
  return Uint32Array.from(palette, ([r, g, b], level) =>
    level === 0 ? 0 : ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0,
  );
}
