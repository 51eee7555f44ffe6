// A canvas that fills an element of the page, and is painted anew when that, the theme or what it shows changes.

export const FONT = '11px "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

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
  const { style } = canvas;
  if (style.width !== `${width}px`) style.width = `${width}px`;
  if (style.height !== `${height}px`) style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  if (ctx === null) throw new Error("this browser gives no canvas");
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}

export abstract class Hosted<Colour extends string, Data> {
  protected readonly canvas = document.createElement("canvas");
  protected colours: Record<Colour, string>;
  protected data: Data | null = null;
  protected width: number;
  protected height: number;
  /** Where the pointer is on another picture with the same axis, in Unix seconds. */
  protected elsewhere: number | null = null;
  private readonly resize: ResizeObserver;

  /** `width`: in pixels, as long as the element has none. */
  constructor(
    private readonly host: HTMLElement,
    private readonly names: readonly Colour[],
    width = 600,
  ) {
    host.append(this.canvas);
    this.colours = resolveColours(host, names);
    [this.width, this.height] = [host.clientWidth || width, host.clientHeight || 140];
    this.resize = new ResizeObserver(() => {
      if (host.clientWidth > 0) [this.width, this.height] = [host.clientWidth, host.clientHeight];
      this.paint();
    });
    this.resize.observe(host);
  }

  draw(data: Data): void {
    this.data = data;
    this.paint();
  }

  /** Reads the colours again after the theme changed. */
  recolour(): void {
    this.colours = resolveColours(this.host, this.names);
    this.paint();
  }

  point(at: number | null): void {
    if (this.elsewhere === at) return;
    this.elsewhere = at;
    this.paintOver();
  }

  destroy(): void {
    this.resize.disconnect();
    this.canvas.remove();
  }

  protected abstract paint(): void;

  /** Where only the cursor has moved. */
  protected paintOver(): void {
    this.paint();
  }
}
