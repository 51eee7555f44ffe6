// The panes of one rank over time, below each other on one canvas, with one axis.
import { clockTime } from "./format";
import type { RankHistory } from "./history";
import { FONT, Hosted, prepare } from "./hosted";
import { paintLine } from "./lines";
import { timeTicks } from "./ticks";
import { lastUpTo } from "./timeline";

const COLOURS = ["running", "waiting", "kv", "text", "text-muted", "grid", "line", "sunken"] as const;
const PANE = 66;
const HEAD = 19;
const AXIS = 20;
const EDGE = 6;

export interface RankChartData extends RankHistory {
  from: number;
  to: number;
  moment: number | null;
}

export interface RankChartListener {
  onHover(at: number | null): void;
  onPick(at: number): void;
}

export class RankChart extends Hosted<(typeof COLOURS)[number], RankChartData> {
  constructor(host: HTMLElement, listener: RankChartListener) {
    super(host, COLOURS, 440);
    this.canvas.onpointermove = (event) => listener.onHover(this.timeAt(event.offsetX));
    this.canvas.onpointerleave = () => listener.onHover(null);
    this.canvas.onclick = (event) => {
      const at = this.timeAt(event.offsetX);
      if (at !== null) listener.onPick(at);
    };
  }

  private timeAt(x: number): number | null {
    if (this.data === null) return null;
    const { from, to } = this.data;
    return from + Math.min(1, Math.max(0, (x - EDGE) / (this.width - 2 * EDGE))) * (to - from);
  }

  protected override paint(): void {
    const { data, width, colours } = this;
    if (data === null) return;
    const height = data.panes.length * PANE + AXIS;
    const ctx = prepare(this.canvas, width, height);
    const x = (at: number) => EDGE + ((at - data.from) / (data.to - data.from)) * (width - 2 * EDGE);
    ctx.font = FONT;
    data.panes.forEach((_, i) => {
      this.paintPane(ctx, data, i, x);
    });
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    ctx.fillStyle = colours["text-muted"];
    const { at, step } = timeTicks(data.from, data.to, Math.floor(width / 90));
    for (const tick of at) {
      const text = step < 60 ? clockTime(tick) : clockTime(tick).slice(0, 5);
      const half = ctx.measureText(text).width / 2;
      ctx.fillText(text, Math.min(width - half, Math.max(half, x(tick))), height - AXIS + 5);
    }
    this.paintCursor(ctx, x, height - AXIS);
  }

  private paintPane(
    ctx: CanvasRenderingContext2D,
    data: RankChartData,
    index: number,
    x: (at: number) => number,
  ): void {
    const { width, colours } = this;
    const pane = data.panes[index];
    if (pane === undefined) return;
    const top = index * PANE + HEAD;
    const bottom = (index + 1) * PANE - 4;
    const { lines, say, title } = pane;
    const most = lines.reduce(
      (high, { values }) => values.reduce<number>((m, v) => Math.max(m, v ?? 0), high),
      0,
    );
    const y = (value: number) => bottom - (value / (most || 1)) * (bottom - top - 2);
    ctx.fillStyle = colours.sunken;
    ctx.fillRect(EDGE, top, width - 2 * EDGE, bottom - top);
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.fillStyle = colours["text-muted"];
    ctx.fillText(title, EDGE, top - 9);
    // The numbers of the moment under the pointer, or of the one that is shown.
    const i = lastUpTo(data.at, this.elsewhere ?? data.moment ?? data.to, (value) => value);
    const told = lines.filter(({ values }) => values.some((value) => value !== null)).reverse();
    ctx.textAlign = "right";
    ctx.fillStyle = colours.text;
    ctx.fillText(
      told.map(({ name, values }) => `${name}: ${say(values[i] ?? null)}`).join("   "),
      width - EDGE,
      top - 9,
    );
    ctx.save();
    ctx.beginPath();
    ctx.rect(EDGE, top - 1, width - 2 * EDGE, bottom - top + 2);
    ctx.clip();
    for (const line of lines) paintLine({ ctx, x, y }, data.at, line, colours[line.colour]);
    ctx.restore();
  }

  private paintCursor(ctx: CanvasRenderingContext2D, x: (at: number) => number, bottom: number): void {
    const line = (at: number | null, wide: number, colour: string) => {
      if (at === null || x(at) < EDGE || x(at) > this.width - EDGE) return;
      ctx.fillStyle = colour;
      ctx.fillRect(Math.round(x(at) - wide / 2), HEAD, wide, bottom - HEAD);
    };
    line(this.data?.moment ?? null, 2, this.colours.text);
    line(this.elsewhere, 1, this.colours["text-muted"]);
  }
}
