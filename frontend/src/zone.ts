// Whose clock times are told by: the viewer's own, or UTC; by choice, kept for the next visit, and always named.
import { signal } from "@preact/signals";

const KEY = "dp-coordinator-zone";

function kept(): boolean {
  try {
    return localStorage.getItem(KEY) === "utc";
  } catch {
    return false;
  }
}

export const utc = signal(kept());

export function switchZone(): void {
  utc.value = !utc.value;
  try {
    if (utc.value) localStorage.setItem(KEY, "utc");
    else localStorage.removeItem(KEY);
  } catch {
    // Kept for this visit only.
  }
}

const format = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });

/** Quarters of an hour since 1970, in which no zone changes, and the name in the last that was asked for. */
let named: [quarter: number, name: string] = [Number.NaN, ""];

/** "UTC", "CET", "GMT+9": the zone of what is shown, as it is named at a moment (Unix seconds). */
export function zoneName(at: number): string {
  if (utc.value) return "UTC";
  const quarter = Math.floor(at / 900);
  if (named[0] !== quarter) {
    const parts = format.formatToParts(new Date(at * 1000));
    named = [quarter, parts.find(({ type }) => type === "timeZoneName")?.value ?? "local"];
  }
  return named[1];
}
