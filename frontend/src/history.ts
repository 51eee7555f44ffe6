// One rank over time, beside another one or the mean: what its drill-down draws and what its CSV has. Pure.
import { count, duration, percent } from "./format";
import type { PackedState } from "./packed";
import { peaksOf, statusOf, valuesOf } from "./rankmap";
import type { Line } from "./series";

const NONE = -0x80000000;

export interface Pane {
  title: string;
  lines: Line[];
  say: (value: number | null) => string;
}

export interface RankHistory {
  /** Unix seconds; where nothing was seen stands a moment without values. */
  at: number[];
  panes: Pane[];
}

interface Reading {
  load: number | null;
  waiting: number | null;
  ratio: number | null;
  kv: number | null;
  lag: number | null;
  age: number | null;
}

const NOTHING: Reading = { load: null, waiting: null, ratio: null, kv: null, lag: null, age: null };

const orNull = (value: number | undefined) => (value === undefined || value === NONE ? null : value);

const leads = new WeakMap<PackedState, { wave: number; step: number }>();

/** The wave that is furthest, and the most steps that a rank reported in it. */
function leadOf(state: PackedState): { wave: number; step: number } {
  const known = leads.get(state);
  if (known !== undefined) return known;
  const lead = { wave: NONE, step: NONE };
  const { current_wave, step_counter } = state.packed;
  current_wave.forEach((wave, rank) => {
    const step = step_counter[rank] ?? NONE;
    if (wave > lead.wave) [lead.wave, lead.step] = [wave, step];
    else if (wave === lead.wave) lead.step = Math.max(lead.step, step);
  });
  leads.set(state, lead);
  return lead;
}

/** Steps that a rank is behind the one that reported most, by what each reported last; null in another wave. */
export function lagOf(state: PackedState, rank: number): number | null {
  const { wave, step } = leadOf(state);
  const [own, at] = [orNull(state.packed.current_wave[rank]), orNull(state.packed.step_counter[rank])];
  return own === null || at === null || own !== wave ? null : step - at;
}

export function readingOf(state: PackedState, rank: number): Reading {
  if (rank >= state.packed.waiting.length) return NOTHING;
  const { waiting, running, kv, status } = valuesOf(state, rank, statusOf(state, rank));
  if (status === "gone") return NOTHING;
  const load = waiting === null && running === null ? null : (waiting ?? 0) + (running ?? 0);
  const { mean } = peaksOf(state);
  return {
    load,
    waiting,
    ratio: load === null || mean <= 0 ? null : load / mean,
    kv,
    lag: lagOf(state, rank),
    age: orNull(state.packed.age_s[rank]),
  };
}

/** What the mean of all ranks is drawn of: of the others there is none that means something. */
function meanOf(state: PackedState): Reading {
  return { ...NOTHING, load: peaksOf(state).mean, ratio: peaksOf(state).mean > 0 ? 1 : null };
}

const PANES: readonly (readonly [keyof Reading, string, (value: number) => string])[] = [
  ["load", "Requests", (value) => count(Math.round(value))],
  ["ratio", "× mean", (value) => `${value.toFixed(1)}×`],
  ["kv", "KV cache", percent],
  ["lag", "Step lag, as last reported", count],
  ["age", "Since the last report", duration],
];

/** `other` is the rank beside it, null for the mean; nothing is joined where nothing was told for `holds` seconds. */
export function historyOf(
  states: readonly PackedState[],
  rank: number,
  other: number | null,
  holds: number,
): RankHistory {
  const at: number[] = [];
  const [own, beside]: [Reading[], Reading[]] = [[], []];
  let last = Number.POSITIVE_INFINITY;
  for (const state of states) {
    if (state.at - last > holds) {
      at.push(last + 0.001);
      own.push(NOTHING);
      beside.push(NOTHING);
    }
    at.push(state.at);
    own.push(readingOf(state, rank));
    beside.push(other === null ? meanOf(state) : readingOf(state, other));
    last = state.at;
  }
  const panes = PANES.map(([name, title, say]) => ({
    title,
    say: (value: number | null) => (value === null ? "—" : say(value)),
    lines: linesOf(name, own, beside, rank, other),
  }));
  return { at, panes };
}

function linesOf(
  name: keyof Reading,
  own: readonly Reading[],
  beside: readonly Reading[],
  rank: number,
  other: number | null,
): Line[] {
  const of = (readings: readonly Reading[], what: keyof Reading) => readings.map((reading) => reading[what]);
  const lines: Line[] = [
    {
      name: other === null ? "mean" : `rank ${other}`,
      colour: "text-muted",
      dash: [5, 3],
      values: of(beside, name),
    },
  ];
  if (name === "load")
    lines.push({ name: "waiting", colour: "waiting", dash: [2, 2], values: of(own, "waiting") });
  lines.push({ name: `rank ${rank}`, colour: "running", dash: [], values: of(own, name) });
  return lines;
}
