// Single keys, anywhere on the page except while text is being typed or a dialog is open.
import { backToLive, goToIncident, link, past, togglePast } from "./app";
import { filterText, selected, zoom } from "./choices";
import { nextAlarm } from "./components/Alarms";
import { helpOpen } from "./components/Help";
import { blocked, openStart } from "./start";
import { cycleTheme } from "./theme";
import { switchZone } from "./zone";

function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.closest("input:not([type=range]), textarea, select, [contenteditable]") !== null
  );
}

function focus(id: string): void {
  document.getElementById(id)?.focus();
}

const KEYS: Record<string, () => void> = {
  a: nextAlarm,
  "/": () => focus("engine-filter"),
  s: () => {
    // A blocked button takes the focus, so that its reason is seen and read out.
    if (blocked.value === null) openStart();
    else focus("start-wave");
  },
  p: togglePast,
  t: cycleTheme,
  z: switchZone,
  "[": () => goToIncident(-1),
  "]": () => goToIncident(1),
  "?": () => {
    helpOpen.value = true;
  },
};

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  // Asked of the document: a dialog that Escape has just closed tells us so a moment later.
  if (link.value.state === "login" || document.querySelector("dialog[open]") !== null) return;
  if (event.key === "Escape" && document.activeElement?.id === "engine-filter") {
    filterText.value = "";
    (document.activeElement as HTMLElement).blur();
    return;
  }
  if (event.key === "Escape" && !typing(event.target)) {
    // The last thing that was opened first.
    if (selected.value !== null) selected.value = null;
    else if (zoom.value !== null) zoom.value = null;
    else if (past.value !== null) backToLive();
    return;
  }
  if (typing(event.target)) return;
  const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : undefined;
  if (act === undefined) return;
  event.preventDefault();
  act();
}

export function listenToKeys(): void {
  document.addEventListener("keydown", onKey);
}
