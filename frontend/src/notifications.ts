// The browser's own notifications, for whoever asked for them: an alarm that is new while the page is not looked at.
import { signal } from "@preact/signals";
import type { Alarm, SnapshotMessage } from "./types.gen";

const KEY = "dp-coordinator-notify";
/** More at once are one notification. */
const SINGLY = 3;

export type Wish = "off" | "on" | "denied" | "impossible";

/** What the viewer wants and the browser allows. */
export const wish = signal<Wish>(begin());

function begin(): Wish {
  if (!("Notification" in window)) return "impossible"; // no secure context, or an old browser
  if (Notification.permission === "denied") return "denied";
  return Notification.permission === "granted" && remembered() ? "on" : "off";
}

function remembered(): boolean {
  try {
    return localStorage.getItem(KEY) === "on";
  } catch {
    return false;
  }
}

/** Switches it; the browser asks the viewer the first time. */
export async function toggleWish(): Promise<void> {
  if (wish.value === "impossible") return;
  const wanted = wish.value !== "on";
  const allowed = !wanted || (await Notification.requestPermission()) === "granted";
  wish.value = !allowed ? "denied" : wanted ? "on" : "off";
  try {
    if (wish.value === "on") localStorage.setItem(KEY, "on");
    else localStorage.removeItem(KEY);
  } catch {
    // For this visit only.
  }
}

/** Tells alarms that are new from those that stood before. The first look only remembers. */
export class Watch {
  private known: Map<string, Alarm> | null = null;

  look(alarms: readonly Alarm[]): { raised: Alarm[]; cleared: Alarm[] } {
    const before = this.known;
    this.known = new Map(alarms.map((alarm) => [alarm.kind, alarm]));
    if (before === null) return { raised: [], cleared: [] };
    return {
      raised: alarms.filter(({ kind }) => !before.has(kind)),
      cleared: [...before.values()].filter(({ kind }) => !this.known?.has(kind)),
    };
  }
}

export interface Told {
  title: string;
  body: string;
  /** The same tag: the later one takes the place of the earlier. */
  tag: string;
}

/** What is said of alarms that came and went. */
export function toldOf(name: string, raised: readonly Alarm[], cleared: readonly Alarm[]): Told[] {
  const who = name || "DP coordinator";
  if (raised.length > SINGLY) {
    const body = raised.map(({ title }) => title).join("\n");
    return [{ title: `${who}: ${raised.length} alarms`, body, tag: `${who}-alarms` }];
  }
  return [
    ...raised.map(({ kind, severity, title }) => ({
      title: `${who}: ${severity}`,
      body: title,
      tag: `${who}-${kind}`,
    })),
    ...cleared.map(({ kind, title }) => ({ title: `${who}: cleared`, body: title, tag: `${who}-${kind}` })),
  ];
}

const watch = new Watch();

/** Called with every state that is heard. */
export function notify(snapshot: SnapshotMessage | null): void {
  if (snapshot === null || snapshot.recording) return;
  const { raised, cleared } = watch.look(snapshot.alarms);
  if (wish.value !== "on" || document.hasFocus()) return;
  for (const { title, body, tag } of toldOf(snapshot.name, raised, cleared)) {
    try {
      const shown = new Notification(title, { body, tag });
      shown.onclick = () => {
        window.focus();
        shown.close();
      };
    } catch {
      wish.value = "impossible"; // some browsers let only service workers show any
    }
  }
}
