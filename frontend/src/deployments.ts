// The other coordinators that the server asks for their states: fetched while there are any.
import { signal } from "@preact/signals";
import { deployments as ask } from "./api";
import { localMs } from "./clock";
import { type DeploymentPage, isDeploymentPage } from "./types.gen";

const EVERY_MS = 2000;

export interface Heard {
  page: DeploymentPage;
  /** Local monotonic milliseconds: ages grow from there. */
  at: number;
}

/** Null until it was heard whether there are any. */
export const others = signal<Heard | null>(null);

let timer = 0;

/** Begins to ask, or asks anew: another process may answer from now on. */
export function followOthers(): void {
  window.clearTimeout(timer);
  void look();
}

async function look(): Promise<void> {
  let again = true;
  try {
    const page = await ask();
    if (isDeploymentPage(page)) {
      others.value = { page, at: localMs() };
      again = page.deployments.length > 0 || page.problem !== null;
    }
  } catch {
    again = others.value !== null; // what was heard grows old meanwhile
  }
  window.clearTimeout(timer);
  if (again) timer = window.setTimeout(() => void look(), EVERY_MS);
}
