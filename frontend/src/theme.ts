// Light, dark, or as the system wishes. public/theme.js applies the choice before the first paint.
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "dp-coordinator-theme";
const ORDER: readonly Theme[] = ["system", "light", "dark"];
const dark = window.matchMedia("(prefers-color-scheme: dark)");

export const theme = signal<Theme>((document.documentElement.dataset.theme as Theme | undefined) ?? "system");

/** Counts up when the colours on screen change: what is drawn on a canvas must be drawn again. */
export const paletteVersion = signal(0);

dark.addEventListener("change", () => {
  paletteVersion.value += 1;
});

export function setTheme(next: Theme): void {
  theme.value = next;
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // Kept for this visit only.
  }
  paletteVersion.value += 1;
}

export function cycleTheme(): void {
  setTheme(ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length] ?? "system");
}
