// The load of each rank over the minute before the moment shown, as small lines to one common scale.
import { computed } from "@preact/signals";
import { fetchedVersion, SPARK_S, shownAt, timeline } from "./app";
import { loadOf, type PackedState } from "./packed";

export const SPARK_WIDTH = 72;
export const SPARK_HEIGHT = 18;

const second = computed(() => Math.floor(shownAt.value ?? 0));

/** One state per second; null where none was heard. */
const states = computed<(PackedState | null)[]>(() => {
  fetchedVersion.value;
  return Array.from({ length: SPARK_S }, (_, i) => timeline.stateAt(second.value - SPARK_S + 1 + i));
});

const highest = computed(() => {
  let most = 1;
  for (const state of new Set(states.value)) {
    const ranks = state?.rest.engine_count ?? 0;
    for (let rank = 0; state !== null && rank < ranks; rank++)
      most = Math.max(most, loadOf(state, rank) ?? 0);
  }
  return most;
});

const paths = computed(() => {
  states.value;
  return new Map<number, string>();
});

/** The line of one rank as an SVG path; it breaks where nothing is known. */
export function sparkline(rank: number): string {
  const known = paths.value.get(rank);
  if (known !== undefined) return known;
  let path = "";
  let joined = false;
  states.value.forEach((state, i) => {
    const load = state === null ? null : loadOf(state, rank);
    if (load !== null) {
      const x = (i * SPARK_WIDTH) / (SPARK_S - 1);
      const y = SPARK_HEIGHT - 1 - (load / highest.value) * (SPARK_HEIGHT - 2);
      path += `${joined ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    }
    joined = load !== null;
  });
  paths.value.set(rank, path);
  return path;
}
