// One sentence per event of the log. Fields come from the server untyped: every reading of them is defensive, and a
// kind that this page does not know is shown as it is.
import type { Mark } from "./chart";
import { duration, latency, ranks } from "./format";
import type { LogEntry } from "./store";
import type { EventMessage } from "./types.gen";

export type Tone = "plain" | "good" | "warn" | "bad";

type Fields = EventMessage["fields"];

const num = (f: Fields, key: string): number | null =>
  typeof f[key] === "number" ? (f[key] as number) : null;
const str = (f: Fields, key: string): string => (typeof f[key] === "string" ? (f[key] as string) : "");
const list = (f: Fields, key: string): number[] =>
  Array.isArray(f[key]) ? (f[key] as unknown[]).filter((x): x is number => typeof x === "number") : [];

const rank = (f: Fields, key = "engine"): string => {
  const index = num(f, key);
  return index === null ? "" : `rank ${index}`;
};
const wave = (f: Fields): string => {
  const n = num(f, "wave");
  return n === null ? "wave" : `wave ${n}`;
};
const by = (f: Fields): string => {
  const cause = str(f, "cause");
  const who = rank(f);
  if (cause === "" || cause === "unknown") return who === "" ? "" : `, ${who}`;
  if (cause === "manual") return ", by hand";
  if (cause === "recovery") return ", after the restart";
  return `, by ${cause}${who === "" ? "" : ` (${who})`}`;
};
const quoted = (f: Fields): string => (str(f, "reason") === "" ? "" : ` “${str(f, "reason")}”`);
const from = (f: Fields): string => (str(f, "caller") === "" ? "" : `, from ${str(f, "caller")}`);

const unlogged = (f: Fields): string => {
  const suppressed = num(f, "suppressed") ?? 0;
  return suppressed > 0 ? ` (and ${suppressed} more not logged)` : "";
};

function asked(f: Fields): string {
  const excluded = num(f, "excluded");
  return `START for ${wave(f)} broadcast${by(f)}${excluded === null ? "" : `, all but rank ${excluded}`}`;
}

function started(f: Fields): [string, Tone] {
  const restarts = num(f, "restarts") ?? 0;
  const wave = num(f, "resumed_wave");
  if (restarts === 0) return ["Coordinator started", "good"];
  const previous = str(f, "previous");
  const before = previous ? `; the one before ${previous}` : "";
  return [
    `Coordinator came back (restart ${restarts})${wave === null ? "" : ` with wave ${wave}`}${before}`,
    "warn",
  ];
}

function recovered(f: Fields): [string, Tone] {
  const took = num(f, "took_s");
  const next = num(f, "wave");
  const after = took === null ? "" : ` after ${latency(took)}`;
  return [`Recovered from the restart${after}${next === null ? "" : `; the next wave is ${next}`}`, "good"];
}

function observed(f: Fields): string {
  const took = num(f, "took_s");
  const seen = list(f, "seen").length || num(f, "seen");
  const after = took === null ? "" : ` after ${latency(took)}`;
  return `Manual start observed: ${seen === null ? "all" : seen} ranks stepping${after}`;
}

const SENTENCES: Record<string, (f: Fields) => [string, Tone]> = {
  coordinator_started: started,
  engines_rejoined: (f) => [`All ${num(f, "engines") ?? ""} engines are back after the restart`, "good"],
  recovery_finished: recovered,
  journal_failed: (f) => [
    `The journal cannot be written, and a restart would lose the wave: ${str(f, "detail") || "no reason told"}`,
    "bad",
  ],
  journal_works_again: () => ["The journal can be written again", "good"],
  socket_unreachable: (f) => [`${str(f, "name")} cannot be reached: ${str(f, "detail")}`, "bad"],
  socket_works_again: (f) => [`${str(f, "name")} can be reached again`, "good"],
  part_missing: (f) => [`Missing since the restart: ${str(f, "name")}: ${str(f, "detail")}`, "warn"],
  part_works_again: (f) => [`${str(f, "name")} is there again`, "good"],
  fresh_start: (f) => [`A fresh start beside engines that live: ${str(f, "detail")}`, "bad"],
  engine_subscribed: (f) => [`An engine subscribed${subscribed(f)}`, "good"],
  engine_unsubscribed: (f) => [`An engine's subscription ended${subscribed(f)}`, "warn"],
  front_end_subscribed: (f) => [`A front-end subscribed${subscribed(f)}`, "good"],
  front_end_unsubscribed: (f) => [`A front-end's subscription ended${subscribed(f)}`, "warn"],
  ready_sent: () => ["READY sent to the engines", "good"],
  wave_asked: (f) => [asked(f), "plain"],
  wave_started: (f) => [`${capital(wave(f))} started${by(f)}`, "good"],
  wave_completed: (f) => {
    const took = num(f, "duration_s");
    return [`${capital(wave(f))} completed${took === null ? "" : ` after ${duration(took)}`}`, "plain"];
  },
  engine_first_report: (f) => [`First report of ${rank(f) || "an engine"}`, "good"],
  engine_restarted: (f) => [
    `${capital(rank(f) || "an engine")} restarted: it went back from wave ${num(f, "from_wave") ?? "?"}, step ${num(f, "from_step") ?? "?"} to wave ${num(f, "wave") ?? "?"}, step ${num(f, "step") ?? "?"}`,
    "warn",
  ],
  engine_count_changed: (f) => [
    `Engine count changed from ${num(f, "before") ?? "?"} to ${num(f, "after") ?? "?"}`,
    "plain",
  ],
  start_unanswered: (f) => [`START for ${wave(f)} was not answered: no rank was seen stepping`, "warn"],
  manual_start_asked: (f) => [`Manual start of ${wave(f)} asked${quoted(f)}${from(f)}`, "plain"],
  manual_start_refused: (f) => [
    `Manual start refused: ${str(f, "detail") || str(f, "refusal")}${quoted(f)}${from(f)}${unlogged(f)}`,
    "warn",
  ],
  manual_start_observed: (f) => [observed(f), "good"],
  manual_start_timed_out: (f) => [
    `Manual start of ${wave(f)} timed out: ${ranks(list(f, "silent"))} silent`,
    "bad",
  ],
  alarm_raised: (f) => [
    `Alarm: ${str(f, "title") || str(f, "alarm")}`,
    str(f, "severity") === "critical" ? "bad" : "warn",
  ],
  alarm_cleared: (f) => {
    const lasted = num(f, "lasted_s");
    return [
      `Over${lasted === null ? "" : ` after ${duration(lasted)}`}: ${str(f, "title") || str(f, "alarm")}`,
      "good",
    ];
  },
  bad_frame: (f) => {
    const suppressed = num(f, "suppressed") ?? 0;
    const more = suppressed > 0 ? ` (and ${suppressed} more not logged)` : "";
    return [
      `Bad frame on ${str(f, "channel") || "?"}: ${str(f, "detail") || str(f, "verdict")}${more}`,
      "bad",
    ];
  },
};

function subscribed(f: Fields): string {
  const n = num(f, "subscribed") ?? num(f, "front_ends");
  const of = num(f, "of");
  return n === null ? "" : `: ${n}${of === null ? "" : ` of ${of}`} now`;
}

const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

/** The event in words, and how it should look. */
export function describe(event: EventMessage): [string, Tone] {
  const sentence = Object.hasOwn(SENTENCES, event.kind) ? SENTENCES[event.kind] : undefined;
  if (sentence !== undefined) return sentence(event.fields);
  const pairs = Object.entries(event.fields).map(([k, v]) => `${k} ${JSON.stringify(v)}`);
  return [[event.kind.replaceAll("_", " "), ...pairs].join(" · "), "plain"];
}

export const KIND_GROUPS: Record<string, (kind: string) => boolean> = {
  alarms: (k) => k.startsWith("alarm_"),
  waves: (k) => k.startsWith("wave_") || k === "start_unanswered",
  "manual starts": (k) => k.startsWith("manual_"),
  engines: (k) => k.startsWith("engine_") || k === "ready_sent",
  "front-ends": (k) => k.startsWith("front_end_"),
  restarts: (k) => /^(coordinator|engines|recovery|journal)_/.test(k),
  faults: (k) =>
    [
      "bad_frame",
      "journal_failed",
      "engine_restarted",
      "start_unanswered",
      "manual_start_timed_out",
    ].includes(k),
};

/** What of the log is marked on the load chart. */
export function marksOf(log: readonly LogEntry[]): Mark[] {
  const marks: Mark[] = [];
  for (const { kind, at } of log) {
    if (kind === "restarted") marks.push({ at, kind: "restart" });
    else if (kind === "alarm_raised") marks.push({ at, kind: "alarm" });
    else if (kind === "manual_start_asked") marks.push({ at, kind: "manual" });
  }
  return marks;
}

/** Whether an entry is shown under a filter: "" for all, a group's name, or one kind. Markers are always shown. */
export function matches(entry: LogEntry, filter: string): boolean {
  if (entry.type === "marker" || filter === "") return true;
  const group = Object.hasOwn(KIND_GROUPS, filter) ? KIND_GROUPS[filter] : undefined;
  return group ? group(entry.kind) : entry.kind === filter;
}

/** The shown entries as JSON lines, oldest first, for a bug report or a colleague. */
export function asJson(entries: readonly LogEntry[]): string {
  const plain = entries.map((e) =>
    e.type === "marker"
      ? { marker: e.kind, at: e.at, text: e.text }
      : { seq: e.seq, at: e.at, kind: e.kind, ...e.fields },
  );
  return JSON.stringify(plain, null, 2);
}
