// Numbers, times and sentences, as people read them. Pure; tested in tests/format.test.ts.
import type { Action, CauseName, Recovery, SnapshotMessage } from "./types.gen";

/** What stands for "never reported": never a zero. */
export const NEVER = "—";

const integer = new Intl.NumberFormat("en-GB");

export function count(value: number | null): string {
  return value === null ? NEVER : integer.format(value).replaceAll(",", " ");
}

export function percent(value: number | null): string {
  if (value === null) return NEVER;
  const p = value * 100;
  return p > 0 && p < 10 ? `${p.toFixed(1)} %` : `${Math.round(p)} %`;
}

/** A duration in seconds with two figures that matter: "84 ms", "4.2 s", "3 min 07 s", "2 h 05 min", "3 d 4 h". */
export function duration(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds)) return NEVER;
  const s = Math.max(0, seconds);
  if (s < 0.0995) return `${Math.round(s * 1000)} ms`;
  if (s < 0.9995) return `${Math.round(s * 100) * 10} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** A latency to the millisecond, for things that were measured: "41 ms", "1.24 s". */
export function latency(seconds: number): string {
  if (seconds < 0.0095) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 9.995 ? `${seconds.toFixed(2)} s` : duration(seconds);
}

const pad = (n: number) => String(n).padStart(2, "0");

/** Local time of day of Unix seconds, "14:02:11"; with `millis`, "14:02:11.084". */
export function clockTime(at: number | null, millis = false): string {
  if (at === null) return NEVER;
  const d = new Date(at * 1000);
  const base = `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
  return millis ? `${base}.${String(d.getMilliseconds()).padStart(3, "0")}` : base;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A moment for lists: the time of day, and the day before it unless it is today's (`today` in Unix seconds). */
export function moment(at: number | null, today: number | null, millis = false): string {
  if (at === null || today === null) return clockTime(at, millis);
  const day = new Date(at * 1000);
  if (day.toDateString() === new Date(today * 1000).toDateString()) return clockTime(at, millis);
  return `${day.getDate()} ${MONTHS[day.getMonth()]} ${clockTime(at)}`;
}

/** "rank 3", "ranks 3 and 5", "ranks 0–3 and 7", "ranks 0–3, 7 and 9 more". Runs of three or more are joined. */
export function ranks(indexes: readonly number[], shown = 6): string {
  const sorted = [...indexes].sort((a, b) => a - b);
  if (sorted.length === 0) return "no rank";
  const groups: { text: string; size: number }[] = [];
  for (let i = 0; i < sorted.length; ) {
    let j = i;
    while (j + 1 < sorted.length && sorted[j + 1] === (sorted[j] ?? 0) + 1) j += 1;
    if (j - i >= 2) {
      groups.push({ text: `${sorted[i]}–${sorted[j]}`, size: j - i + 1 });
    } else {
      for (let k = i; k <= j; k++) groups.push({ text: `${sorted[k]}`, size: 1 });
    }
    i = j + 1;
  }
  const rest = groups.slice(shown).reduce((sum, group) => sum + group.size, 0);
  const parts = groups.slice(0, shown).map((group) => group.text);
  if (rest > 0) parts.push(`${rest} more`);
  const last = parts.pop() ?? "";
  const list = parts.length > 0 ? `${parts.join(", ")} and ${last}` : last;
  return `${sorted.length === 1 ? "rank" : "ranks"} ${list}`;
}

/** Load against the mean: "1.8×"; null mean or a mean of nothing has no ratio. */
export function ratio(load: number | null, mean: number | null): string {
  if (load === null || mean === null || mean === 0) return NEVER;
  return `${(load / mean).toFixed(1)}×`;
}

export function causeText(cause: CauseName | string, engine: number | null): string {
  const name = cause === "unknown" ? "not seen" : cause === "recovery" ? "after a restart" : cause;
  return engine === null ? name : `${name} · rank ${engine}`;
}

/**
 * The state in one word. A coordinator that came back calls the engines paused until it knows better: while they
 * rejoin, nobody can say.
 */
export function phaseWord(snapshot: SnapshotMessage): SnapshotMessage["phase"] | "recovering" {
  const unknown = snapshot.phase === "paused" && snapshot.recovery?.phase === "rejoining";
  return unknown ? "recovering" : snapshot.phase;
}

/** Seconds for which the end of a recovery is told: a page that the restart cut off is back long before. */
const RECOVERED_S = 30;

/** How far a restart has got: a heading, and the rest. Null when there is nothing to tell any more. */
export function recoveryText(recovery: Recovery, wave: number, now: number): [string, string] | null {
  const { phase, resumed_wave, resumed_at, engines_back, engines_expected, finished_at } = recovery;
  if (phase === "rejoining") {
    const back = `${count(engines_back)} of ${count(engines_expected)} engines are back`;
    return [`Recovering: ${back};`, `wave ${resumed_wave} was resumed ${duration(now - resumed_at)} ago`];
  }
  if (phase === "settling") return [`Recovering: START was sent for wave ${wave};`, "waiting for its end"];
  if (finished_at === null || now - finished_at > RECOVERED_S) return null;
  return [
    "Recovered",
    `${duration(finished_at - resumed_at)} after the restart, which resumed wave ${resumed_wave}`,
  ];
}

/** "1 restart at 14:02:11", "3 restarts, the last at 14:02:11". */
export function restartText(restarts: number, at: number, today: number): string {
  return `${restarts === 1 ? "1 restart" : `${count(restarts)} restarts, the last`} at ${moment(at, today)}`;
}

export interface Outcome {
  tone: "waiting" | "good" | "bad";
  text: string;
}

/** What was observed of a manual start. `ageNow` is seconds since it was asked. */
export function outcome(action: Action, ageNow: number): Outcome {
  const { engine_count: total, seen, silent } = action;
  if (action.state === "asked") {
    const so =
      seen.length === 0 ? "no rank seen stepping yet" : `${seen.length} of ${total} ranks seen stepping`;
    return { tone: "waiting", text: `Asked ${duration(ageNow)} ago, ${so}` };
  }
  if (action.state === "timed_out") {
    const stepping = total - silent.length;
    const who =
      silent.length === total
        ? "no rank was"
        : `${ranks(silent)} ${silent.length === 1 ? "was" : "were"} not`;
    return {
      tone: "bad",
      text: `Timed out after ${latency(action.took_s ?? ageNow)}: ${who} seen stepping (${stepping} of ${total})`,
    };
  }
  const took = latency(action.took_s ?? ageNow);
  return { tone: "good", text: `${total - silent.length} of ${total} ranks stepping after ${took}` };
}
