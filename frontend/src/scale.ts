// What the colour of a rank says, in the grid and on the map: a level for each value, and a colour for each level. Pure.
import type { EngineStatus } from "./types.gen";

export const COLOUR_BY = ["requests", "waiting", "ratio", "kv", "state"] as const;

export type ColourBy = (typeof COLOUR_BY)[number];

export const COLOUR_NAMES: Record<ColourBy, string> = {
  requests: "Requests",
  waiting: "Waiting",
  ratio: "× mean",
  kv: "KV cache",
  state: "State",
};

/** Levels below FIRST are no values. */
export const UNSEEN = 0;
export const NEVER = 1;
export const GONE = 2;
export const FIRST = 3;
/** Steps from nothing to the full scale, of which the first is for nothing at all. */
export const SHADES = 20;
/** "× mean" has the mean in the middle. */
const MIDDLE = SHADES / 2;
export const LEVELS = FIRST + SHADES + 1;

/** Of so many times the mean (or a part as small) the colour is the fullest. */
const FULL_RATIO = 4;

/** Statuses with a colour of their own, from what needs nobody to what does. */
const STATES: readonly (EngineStatus | "unknown")[] = [
  "idle",
  "working",
  "quiet",
  "joining",
  "unknown",
  "suspect",
];

export interface Values {
  status: EngineStatus | "unknown";
  waiting: number | null;
  running: number | null;
  kv: number | null;
}

/** The value of a full scale: 10, 15, 20, 30, 50, 70, 100, ... so that it seldom changes. */
export function roundFull(value: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return Math.max(4, [1, 1.5, 2, 3, 5, 7, 10].map((m) => m * magnitude).find((m) => m >= value) ?? value);
}

/** From nothing, which has a level of its own, to `full` and more. */
function shade(value: number, full: number): number {
  return value <= 0 ? FIRST : FIRST + Math.max(1, Math.min(SHADES, Math.ceil((SHADES * value) / full)));
}

/** What a rank looks like. `full` ends the scale of counts; `mean` is that of requests. */
export function levelOf(by: ColourBy, of: Values, full: number, mean: number): number {
  const { status, waiting, running, kv } = of;
  if (by === "state") return stateLevel(status);
  if (status === "gone") return GONE;
  if (by === "kv") return kv === null ? NEVER : shade(kv, 1);
  if (by === "waiting") return waiting === null ? NEVER : shade(waiting, full);
  if (waiting === null && running === null) return NEVER;
  const load = (waiting ?? 0) + (running ?? 0);
  return by === "requests" ? shade(load, full) : ratioLevel(load, mean);
}

function ratioLevel(load: number, mean: number): number {
  if (mean <= 0) return FIRST + MIDDLE;
  const part = Math.log(Math.max(load / mean, 1 / FULL_RATIO)) / Math.log(FULL_RATIO);
  return FIRST + MIDDLE + Math.round(MIDDLE * Math.min(1, part));
}

function stateLevel(status: EngineStatus | "unknown"): number {
  if (status === "never") return NEVER;
  if (status === "gone") return GONE;
  return FIRST + STATES.indexOf(status);
}

/** How much each level asks to be looked at: of several in one place the worst is shown. */
export function badness(by: ColourBy): Uint8Array {
  const out = new Uint8Array(LEVELS);
  for (let level = 0; level < LEVELS; level++) {
    if (level === GONE) out[level] = 255;
    else if (level < FIRST || by !== "ratio") out[level] = level;
    else out[level] = FIRST + 2 * Math.abs(level - FIRST - MIDDLE) + (level > FIRST + MIDDLE ? 1 : 0);
  }
  return out;
}

/** Custom properties that the colours are made of. */
export const SCALE_COLOURS = [
  "running",
  "waiting",
  "kv",
  "below",
  "surface",
  "never",
  "gone",
  "text-muted",
  "state-idle",
  "state-working",
  "state-quiet",
  "warn",
] as const;

export type ScaleColours = Record<(typeof SCALE_COLOURS)[number], string>;
export type Rgb = [number, number, number];

function rgb(colour: string): Rgb {
  const [r = 0, g = 0, b = 0] = (colour.match(/[\d.]+/g) ?? []).map(Number);
  return [r, g, b];
}

const mix = (a: Rgb, b: Rgb, part: number) =>
  a.map((value, i) => Math.round(value + part * ((b[i] ?? 0) - value))) as Rgb;

/** A colour for each level; UNSEEN has none that is drawn. Solid, since mixing on a canvas costs more than drawing. */
export function paletteOf(by: ColourBy, colours: ScaleColours): Rgb[] {
  const ground = rgb(colours.surface);
  const never = [ground, rgb(colours.never), rgb(colours.gone)] as const;
  if (by === "state") {
    const { "text-muted": muted, warn } = colours;
    const own = [colours["state-idle"], colours["state-working"], colours["state-quiet"], muted, muted, warn];
    return [...never, ...Array.from({ length: SHADES + 1 }, (_, i) => rgb(own[i] ?? muted))];
  }
  const shades = Array.from({ length: SHADES + 1 }, (_, i) => {
    if (by === "ratio") {
      const away = (i - MIDDLE) / MIDDLE;
      return mix(ground, rgb(away > 0 ? colours.waiting : colours.below), 0.1 + 0.9 * Math.abs(away));
    }
    const full = by === "kv" ? colours.kv : by === "waiting" ? colours.waiting : colours.running;
    return mix(ground, rgb(full), i === 0 ? 0.07 : 0.16 + (0.84 * i) / SHADES);
  });
  return [...never, ...shades];
}

export const css = (colour: Rgb | undefined) => `rgb(${(colour ?? [0, 0, 0]).join(" ")})`;

/** Whether dark text reads better on a colour than light text does. */
export function isLight([r, g, b]: Rgb): boolean {
  const linear = (v: number) => (v / 255) ** 2.2;
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.179;
}
