// Milliseconds that only grow, and that count the time a computer slept: `performance.now()` stands still then, and a
// page that woke up would call old numbers live.

/** The wall clock ahead of the monotonic one by more than this between two looks: the computer slept. */
const SLEPT_MS = 2000;

export function makeClock(monotonicMs: () => number, wallMs: () => number): () => number {
  let lastMonotonic = monotonicMs();
  let lastWall = wallMs();
  let slept = 0;
  return () => {
    const monotonic = monotonicMs();
    const wall = wallMs();
    const ahead = wall - lastWall - (monotonic - lastMonotonic);
    // A wall clock that was set forward looks the same: ages are then too large until the next message.
    if (ahead > SLEPT_MS) slept += ahead;
    lastMonotonic = monotonic;
    lastWall = wall;
    return monotonic + slept;
  };
}

export const localMs = makeClock(
  () => performance.now(),
  () => Date.now(),
);
