// The start-wave dialog's logic: what was asked, with which key, and what came of it.

import { computed, signal } from "@preact/signals";
import * as api from "./api";
import { backToLive, connected, past, present } from "./app";
import type { Action } from "./types.gen";

export interface Refusal {
  title: string;
  detail: string;
}

export type StartDialog =
  | { step: "closed" }
  | { step: "form"; expected: number; reason: string; sending: boolean; refusal: Refusal | null }
  | { step: "follow"; action: Action; incarnation: number };

export const dialog = signal<StartDialog>({ step: "closed" });

/** Why a wave cannot be started now, in words; null when it can. */
export const blocked = computed<string | null>(() => {
  const { snapshot, outdated } = present.value;
  if (outdated) return "this page is outdated";
  if (!connected.value) return "not connected to the coordinator";
  if (snapshot === null) return "no state has arrived yet";
  if (snapshot.start_blocked !== null) return snapshot.start_blocked;
  return snapshot.wave_coordination ? null : "wave coordination is off";
});

/** The action that the dialog follows, as it was last heard of. `cut`: the coordinator that was asked is gone. */
export const followed = computed<{ action: Action; cut: boolean } | null>(() => {
  const d = dialog.value;
  if (d.step !== "follow") return null;
  const { snapshot, incarnation } = present.value;
  const newest = snapshot?.actions.find((a) => a.id === d.action.id);
  return { action: newest ?? d.action, cut: newest === undefined && incarnation !== d.incarnation };
});

let attempt: { key: string; body: string } | null = null;

export function openStart(): void {
  if (past.value !== null) backToLive(); // what is observed must be seen
  const { snapshot } = present.value;
  if (blocked.value !== null || snapshot === null) return;
  attempt = null;
  dialog.value = { step: "form", expected: snapshot.current_wave, reason: "", sending: false, refusal: null };
}

export function closeStart(): void {
  dialog.value = { step: "closed" };
}

export async function submitStart(reason: string): Promise<void> {
  const d = dialog.value;
  if (d.step !== "form" || d.sending || reason.trim() === "") return;
  const body = { reason: reason.trim(), expected_wave: d.expected };
  // Asking again after an answer was lost must not ask twice: same words, same key.
  const text = JSON.stringify(body);
  if (attempt?.body !== text) attempt = { key: api.newKey(), body: text };
  dialog.value = { ...d, reason, sending: true, refusal: null };
  const { incarnation } = present.value;
  try {
    const action = await api.startWave(body, attempt.key);
    if (dialog.value.step === "form") dialog.value = { step: "follow", action, incarnation };
  } catch (error) {
    if (dialog.value.step !== "form") return;
    dialog.value = { ...d, reason, ...refused(error, d.expected), sending: false };
  }
}

function refused(error: unknown, expected: number): { refusal: Refusal; expected: number } {
  if (error instanceof api.ApiError) {
    attempt = null;
    // The viewer has now been told; asking again means the wave that is current now.
    const current = present.value.snapshot?.current_wave ?? expected;
    return { refusal: { title: error.title, detail: error.message }, expected: current };
  }
  const detail =
    "The answer did not arrive, so it is not known whether the wave was asked for. Sending the same reason again is safe: it asks once only, and if the coordinator was restarted meanwhile a second START does no harm.";
  return { refusal: { title: "No answer", detail }, expected };
}
