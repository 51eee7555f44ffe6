// What the browser's tab says, for those who look at another: the name, the state, and how many alarms stand.
import type { Link } from "./connection";
import type { SnapshotMessage, Tone } from "./types.gen";

const UNNAMED = "DP coordinator";

const COLOURS: Record<Tone | "lost", string> = {
  plain: "#5b6673",
  good: "#0a7a54",
  warn: "#b26a00",
  bad: "#c22f26",
  lost: "#5b6673",
};

export function titleOf(link: Link["state"], snapshot: SnapshotMessage | null): string {
  const name = snapshot?.name || UNNAMED;
  if (link === "lost") return `Disconnected · ${name}`;
  if (snapshot === null) return name;
  const { alarms, state, current_wave, wave_coordination } = snapshot;
  const count = alarms.length > 0 ? `(${alarms.length}) ` : "";
  return `${count}${name} · ${state}${wave_coordination ? ` · wave ${current_wave}` : ""}`;
}

/** The icon as the address of an SVG: the colour of the state; a number or a shape says the same without colour. */
export function iconOf(link: Link["state"], snapshot: SnapshotMessage | null): string {
  const count = snapshot?.alarms.length ?? 0;
  const fill = COLOURS[link === "lost" ? "lost" : (snapshot?.state_tone ?? "plain")];
  let sign = '<path d="M4 20c4 0 4-9 8-9s4 9 8 9 4-9 8-9" fill="none" stroke="#fff" stroke-width="3.2"/>';
  if (link === "lost") sign = '<path d="M9 9l14 14M23 9L9 23" stroke="#fff" stroke-width="4"/>';
  else if (count > 0) {
    const shown = count > 9 ? "9+" : String(count);
    sign = `<text x="16" y="24" text-anchor="middle" font-family="sans-serif" font-weight="700" font-size="22" fill="#fff">${shown}</text>`;
  }
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="${fill}"/>${sign}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** Puts both where the browser shows them; what did not change is left alone. */
export function tellTheTab(link: Link["state"], snapshot: SnapshotMessage | null): void {
  const title = titleOf(link, snapshot);
  if (document.title !== title) document.title = title;
  const place = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  const icon = iconOf(link, snapshot);
  if (place !== null && place.href !== icon) place.href = icon;
}
