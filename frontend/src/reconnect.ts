// When to try again after the connection was lost.

const SECONDS = [1, 2, 4, 8, 10] as const;

/**
 * Milliseconds to wait before attempt number `attempt` (0 is the first). `random` in [0, 1) spreads viewers by
 * ±20 % so that they do not all return to a restarted coordinator in the same instant.
 */
export function retryDelay(attempt: number, random: number): number {
  const base = SECONDS[Math.min(Math.max(0, attempt), SECONDS.length - 1)] ?? 10;
  return Math.round(base * 1000 * (0.8 + 0.4 * random));
}
