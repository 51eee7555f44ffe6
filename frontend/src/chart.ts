// The only file that knows uPlot. Draws two lines over time with the waves as bands behind them.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clockTime, count } from "./format";
import type { Band, Columns } from "./history";

export interface Frame {
  columns: Columns;
  bands: readonly Band[];
  /** Unix seconds of the coordinator's restarts that this page has seen. */
  restarts: readonly number[];
  /** Unix seconds of the left and right edge. */
  from: number;
  to: number;
  /** Where the newest data ends: an open wave is drawn no further. */
  newest: number;
}

export interface Hover {
  at: number;
  waiting: number | null;
  running: number | null;
}

const COLOURS = ["waiting", "running", "text-muted", "grid", "band", "band-edge", "warn"] as const;
type Colour = (typeof COLOURS)[number];

const HEIGHT = 236;
const FONT = '11px "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** Custom properties resolved to colours that a canvas understands. */
function resolve(host: HTMLElement, name: Colour): string {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  host.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

export class LoadChart {
  private readonly plot: uPlot;
  private readonly resize: ResizeObserver;
  private colours = {} as Record<Colour, string>;
  private frame: Frame | null = null;

  constructor(
    private readonly host: HTMLElement,
    private readonly onHover: (hover: Hover | null) => void,
  ) {
    this.readColours();
    this.plot = new uPlot(this.options(), [[], [], []], host);
    this.resize = new ResizeObserver(() => {
      const width = host.clientWidth;
      if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
    });
    this.resize.observe(host);
  }

  draw(frame: Frame): void {
    this.frame = frame;
    this.plot.setData(frame.columns, false);
    this.plot.setScale("x", { min: frame.from, max: frame.to });
  }

  /** Reads the colours again after the theme changed. */
  recolour(): void {
    this.readColours();
    this.plot.redraw(false, true);
  }

  destroy(): void {
    this.resize.disconnect();
    this.plot.destroy();
  }

  private readColours(): void {
    for (const name of COLOURS) {
      this.colours[name] = resolve(this.host, name);
    }
  }

  private options(): uPlot.Options {
    const axis: Partial<uPlot.Axis> = {
      stroke: () => this.colours["text-muted"],
      font: FONT,
      ticks: { show: false },
      grid: { stroke: () => this.colours.grid, width: 1 },
    };
    const line = (name: "waiting" | "running", dash?: number[]): uPlot.Series => ({
      label: name,
      stroke: () => this.colours[name],
      width: 1.75,
      points: { show: false },
      ...(dash ? { dash } : {}),
    });
    return {
      width: this.host.clientWidth || 600,
      height: HEIGHT,
      padding: [20, 22, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(4, (max ?? 0) * 1.08)] } },
      axes: [
        { ...axis, size: 28, gap: 6, space: 56, values: (_u, ticks) => timeLabels(ticks) },
        {
          ...axis,
          size: 40,
          gap: 6,
          space: 36,
          values: (_u, ticks) => ticks.map(count),
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 5e4, 1e5],
        },
      ],
      // Colour-blind viewers tell the two apart by the dash as well.
      series: [{}, line("waiting", [6, 3]), line("running")],
      hooks: { drawClear: [() => this.drawBands()], setCursor: [(u) => this.hover(u)] },
    };
  }

  private hover(u: uPlot): void {
    const index = u.cursor.idx;
    const columns = this.frame?.columns;
    const at = index == null ? undefined : columns?.[0][index];
    if (index == null || columns === undefined || at === undefined || (u.cursor.left ?? -1) < 0) {
      this.onHover(null);
      return;
    }
    this.onHover({ at, waiting: columns[1][index] ?? null, running: columns[2][index] ?? null });
  }

  private drawBands(): void {
    const { frame, plot, colours } = this;
    if (frame === null) return;
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const scale = window.devicePixelRatio || 1;
    ctx.save();
    ctx.font = FONT.replace("11px", `${11 * scale}px`);
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    let labelled = Number.NEGATIVE_INFINITY;
    for (const band of [...frame.bands].sort((a, b) => a.start - b.start)) {
      const x0 = Math.max(left, plot.valToPos(band.start, "x", true));
      const x1 = Math.min(left + width, plot.valToPos(band.end ?? frame.newest, "x", true));
      if (x1 < left || x0 > left + width) continue;
      const span = Math.max(scale, x1 - x0);
      ctx.fillStyle = colours.band;
      ctx.fillRect(x0, top, span, height);
      ctx.fillStyle = colours["band-edge"];
      ctx.fillRect(x0, top, span, 2 * scale);
      // Numbers stand above their bands as far as they do not run into each other.
      const label = String(band.wave);
      const wide = ctx.measureText(label).width + 6 * scale;
      if (span > wide && x0 > labelled) {
        ctx.fillStyle = colours["text-muted"];
        ctx.fillText(label, x0 + 2 * scale, top - 2 * scale);
        labelled = x0 + wide;
      }
    }
    // A restart of just now has no room for its name at the right of its line.
    const room = ctx.measureText("restart").width + 8 * scale;
    ctx.fillStyle = colours.warn;
    for (const at of frame.restarts) {
      const x = plot.valToPos(at, "x", true);
      if (x < left || x > left + width) continue;
      ctx.fillRect(x, top, 2 * scale, height);
      const beside = x + room > left + width ? x - room + 4 * scale : x + 6 * scale;
      ctx.fillText("restart", beside, top + 14 * scale);
    }
    ctx.restore();
  }
}

/** Seconds are said only where neighbouring ticks are less than a minute apart. */
function timeLabels(ticks: number[]): string[] {
  const step = (ticks[1] ?? 0) - (ticks[0] ?? 0);
  return ticks.map((at) => (step > 0 && step < 60 ? clockTime(at) : clockTime(at).slice(0, 5)));
}
