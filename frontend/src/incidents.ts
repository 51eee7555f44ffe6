// From one incident to the next, and what is told a colleague of one. Pure.
import { marksOf } from "./events";
import { duration } from "./format";
import type { LogEntry } from "./store";
import type { Alarm } from "./types.gen";

/** Incidents nearer than this to the moment shown are the one that is shown. */
const SAME_S = 0.5;
const AROUND_S = 60;
const LINES = 20;

/** The beginning of the alarm or restart before (-1) or after (1) a moment; null when there is none. */
export function nextIncident(log: readonly LogEntry[], from: number, step: -1 | 1): number | null {
  const begins = marksOf(log)
    .filter(({ kind }) => kind !== "manual")
    .map(({ at }) => at)
    .sort((a, b) => a - b);
  const found =
    step < 0 ? begins.findLast((at) => at < from - SAME_S) : begins.find((at) => at > from + SAME_S);
  return found ?? null;
}

const iso = (at: number) => new Date(at * 1000).toISOString().replace("T", " ").replace("Z", " UTC");

export interface Incident {
  alarm: Alarm;
  /** What the deployment is called and does. */
  deployment: string;
  state: string;
  /** How old the alarm is, in seconds. */
  age: number;
  /** A line for each rank that it names. */
  ranks: readonly string[];
  log: readonly LogEntry[];
  link: string;
}

/** As Markdown: what, when, which ranks, who they are, what to do, and the log around its beginning. */
export function incidentText({ alarm, deployment, state, age, ranks, log, link }: Incident): string {
  const around = log
    .filter(({ at }) => Math.abs(at - alarm.since) <= AROUND_S)
    .sort((a, b) => Math.abs(a.at - alarm.since) - Math.abs(b.at - alarm.since))
    .slice(0, LINES)
    .sort((a, b) => a.at - b.at)
    // A text from outside does not end the block that it stands in.
    .map(({ at, text }) => `${iso(at)}  ${text.replaceAll("`", "'")}`);
  const parts = [
    `## ${alarm.severity.toUpperCase()}: ${alarm.title}`,
    `- Deployment: ${deployment}`,
    `- Since: ${iso(alarm.since)}, for ${duration(age)}`,
    `- State: ${state}`,
    ...ranks.map((rank) => `- ${rank}`),
    `- Meaning: ${alarm.meaning}`,
    `- What to do: ${alarm.remedy}`,
    `- That moment: ${link}`,
  ];
  const logged = around.length === 0 ? "Nothing is logged around it." : ["```", ...around, "```"].join("\n");
  return `${parts.join("\n")}\n\n### Log around its beginning\n\n${logged}\n`;
}
