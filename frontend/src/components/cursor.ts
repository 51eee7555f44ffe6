// Which rank of the table has the keyboard: one stop of the tab key for all of them, arrows lead from one to the next.
import { computed, signal } from "@preact/signals";
import { selected } from "../choices";
import { shown } from "./engines";

const PAGE = 10;

const visited = signal<number | null>(null);

/** The rank that the tab key leads to. */
export const current = computed(() => {
  const list = shown.value;
  const has = (rank: number | null) => rank !== null && list.some(({ index }) => index === rank);
  if (has(visited.value)) return visited.value;
  return has(selected.value) ? selected.value : (list[0]?.index ?? null);
});

/** How far each key leads. */
const STEPS: Record<string, number> = {
  ArrowDown: 1,
  ArrowUp: -1,
  PageDown: PAGE,
  PageUp: -PAGE,
  Home: Number.NEGATIVE_INFINITY,
  End: Number.POSITIVE_INFINITY,
};

/** Takes a key in the table; `reveal` brings a position into sight. */
export function onTableKey(event: KeyboardEvent, reveal: (position: number) => void): void {
  const step = Object.hasOwn(STEPS, event.key) ? STEPS[event.key] : undefined;
  const list = shown.value;
  const at = list.findIndex(({ index }) => index === current.value);
  if (step === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const position = Math.min(list.length - 1, Math.max(0, at + step));
  const rank = list[position]?.index ?? null;
  visited.value = rank;
  reveal(position);
  // Rows out of sight are made first.
  requestAnimationFrame(() =>
    requestAnimationFrame(() =>
      document
        .querySelector<HTMLElement>(`tr[data-rank="${rank}"] .rank-button`)
        ?.focus({ preventScroll: true }),
    ),
  );
}
