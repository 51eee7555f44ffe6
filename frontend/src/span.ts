// The stretch of time that the load chart and the map show.
import { past, serverNow, timeline } from "./app";
import { windowMin, zoom } from "./choices";

/** Left and right edge in Unix seconds; null before anything was heard. */
export function edges(): [number, number] | null {
  if (zoom.value !== null) return [...zoom.value];
  const to = past.value?.edge ?? serverNow.value;
  if (to === null) return null;
  // A coordinator younger than the window does not leave most of the chart empty.
  return [Math.max(to - windowMin.value * 60, Math.min(timeline.oldest ?? to, to - 60)), to];
}

/** Every other state, which come ten times a second. */
const FASTEST_MS = 190;

/** Milliseconds between two drawings of `pixels` of width: no more often than a pixel's worth of time. */
export function drawEvery([from, to]: [number, number], pixels: number): number {
  return Math.min(1000, Math.max(FASTEST_MS, (1000 * (to - from)) / Math.max(200, pixels)));
}
