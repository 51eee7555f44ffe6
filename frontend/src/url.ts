// The viewer's choices as the part of the address behind "#". Pure. Nonsense in it is left out and told.
import { WINDOWS_MIN } from "./choices";
import { COLOUR_BY, type ColourBy } from "./scale";
import { SERIES, type Series } from "./series";
import { SORT_KEYS, type Sort, type SortKey } from "./table";

export interface Choices {
  windowMin: number;
  zoom: readonly [number, number] | null;
  filter: string;
  /** What of the log is shown. */
  log: string;
  sort: Sort;
  colour: ColourBy;
  lines: Series;
  rank: number | null;
  /** The rank that it is compared with. */
  beside: number | null;
  /** The moment looked at, in Unix seconds; null is live. */
  at: number | null;
}

export const DEFAULTS: Choices = {
  windowMin: 5,
  zoom: null,
  filter: "",
  log: "",
  sort: { key: "index", descending: false },
  colour: "requests",
  lines: "sum",
  rank: null,
  beside: null,
  at: null,
};

const LONGEST_FILTER = 200;

function seconds(text: string): number | null {
  const value = /^\d{1,12}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  return value > 0 ? value : null;
}

/** Reads one part into `into`; false when it means nothing. */
function readPart(into: Choices, name: string, text: string): boolean {
  switch (name) {
    case "window": {
      const minutes = WINDOWS_MIN.find((m) => String(m) === text);
      if (minutes !== undefined) into.windowMin = minutes;
      return minutes !== undefined;
    }
    case "zoom": {
      const [from, to, more] = text.split("-").map(seconds);
      if (from == null || to == null || more !== undefined || to <= from) return false;
      into.zoom = [from, to];
      return true;
    }
    case "filter":
      if (text.length <= LONGEST_FILTER) into.filter = text;
      return text.length <= LONGEST_FILTER;
    case "log":
      if (!/^[A-Za-z_ -]{1,60}$/.test(text)) return false;
      into.log = text;
      return true;
    case "sort": {
      const key = text.replace(/^-/, "") as SortKey;
      if (!SORT_KEYS.includes(key)) return false;
      into.sort = { key, descending: text.startsWith("-") };
      return true;
    }
    case "colour": {
      const colour = COLOUR_BY.find((by) => by === text);
      if (colour !== undefined) into.colour = colour;
      return colour !== undefined;
    }
    case "lines": {
      const lines = SERIES.find((series) => series === text);
      if (lines !== undefined) into.lines = lines;
      return lines !== undefined;
    }
    case "rank":
    case "beside":
      if (!/^\d{1,6}$/.test(text)) return false;
      into[name] = Number(text);
      return true;
    case "at":
      into.at = seconds(text);
      return into.at !== null;
    default:
      return false;
  }
}

/** The choices that a hash names, and the parts of it that mean nothing. */
export function readHash(hash: string): { choices: Choices; nonsense: string[] } {
  const choices = { ...DEFAULTS };
  const nonsense: string[] = [];
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!readPart(choices, name, text)) nonsense.push(`${name}=${text}`.slice(0, 60));
  }
  return { choices, nonsense };
}

/** The hash for some choices: only what is not as by default, "" when all is. */
export function writeHash(choices: Choices): string {
  const { windowMin, zoom, filter, log, sort, colour, lines, rank, beside, at } = choices;
  const parts = new URLSearchParams();
  if (windowMin !== DEFAULTS.windowMin) parts.set("window", String(windowMin));
  if (zoom !== null) parts.set("zoom", zoom.map((t) => t.toFixed(1)).join("-"));
  if (filter !== "") parts.set("filter", filter);
  if (log !== "") parts.set("log", log);
  if (sort.key !== "index" || sort.descending) parts.set("sort", `${sort.descending ? "-" : ""}${sort.key}`);
  if (colour !== DEFAULTS.colour) parts.set("colour", colour);
  if (lines !== DEFAULTS.lines) parts.set("lines", lines);
  if (rank !== null) parts.set("rank", String(rank));
  if (beside !== null) parts.set("beside", String(beside));
  if (at !== null) parts.set("at", at.toFixed(3));
  const text = parts.toString();
  return text === "" ? "" : `#${text}`;
}
