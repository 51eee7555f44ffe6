// Numbers, times and sentences, as people read them. Pure; tested in tests/format.test.ts.
import type { WaveCause } from "./types.gen";
import { utc } from "./zone";

/** What stands for "never reported": never a zero. */
export const NEVER = "—";

// As `grouped` of sentences.py: four digits are read without a space among them.
const integer = new Intl.NumberFormat("en-GB", { useGrouping: "min2" });

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

const pad = (n: number) => String(n).padStart(2, "0");

/** A moment whose UTC parts are those of the zone that times are told in. */
function zoned(at: number): Date {
  const moment = new Date(at * 1000);
  return utc.value ? moment : new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
}

/** Time of day of Unix seconds, "14:02:11"; with `millis`, "14:02:11.084". */
export function clockTime(at: number | null, millis = false): string {
  if (at === null) return NEVER;
  return zoned(at)
    .toISOString()
    .slice(11, millis ? 23 : 19);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A moment for lists: the time of day, before it the day unless it is today's, and the year unless it is this one. */
export function moment(at: number | null, today: number | null, millis = false): string {
  if (at === null || today === null) return clockTime(at, millis);
  const [day, now] = [zoned(at), zoned(today)];
  if (day.toISOString().slice(0, 10) === now.toISOString().slice(0, 10)) return clockTime(at, millis);
  const year = day.getUTCFullYear() === now.getUTCFullYear() ? "" : ` ${day.getUTCFullYear()}`;
  return `${day.getUTCDate()} ${MONTHS[day.getUTCMonth()]}${year} ${clockTime(at)}`;
}

/** Load against the mean: "1.8×"; null mean or a mean of nothing has no ratio. */
export function ratio(load: number | null, mean: number | null): string {
  if (load === null || mean === null || mean === 0) return NEVER;
  return `${(load / mean).toFixed(1)}×`;
}

const CAUSES: Partial<Record<WaveCause, string>> = {
  unknown: "not seen",
  recovery: "after a restart",
  reconnection: "a connection made again",
};

export function causeText(cause: WaveCause, engine: number | null): string {
  const name = CAUSES[cause] ?? cause;
  return engine === null ? name : `${name} · rank ${engine}`;
}

/** "1 restart at 14:02:11", "3 restarts, the last at 14:02:11". */
export function restartText(restarts: number, at: string): string {
  return `${restarts === 1 ? "1 restart" : `${count(restarts)} restarts, the last`} at ${at}`;
}
