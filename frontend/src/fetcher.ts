// Fetches what the server kept of moments that this page did not see: each stretch once, when the hand has come to rest.
import type { StateHistory } from "./types.gen";

/** A hand that moves the scrubber asks for nothing on its way. */
const REST_MS = 120;
/** The newest stretch grows every second; beyond this from its last state it must be asked for again. */
const GROWS_S = 1;
const REMEMBERED = 500;

/** loading: it has been, or is about to be, asked for; failed: it could not be had; known: there is no more to be had. */
export type Asking = "loading" | "failed" | "known";

export class StateFetcher {
  /** What was asked, and from when until when that answered. */
  private answers: { asked: number; from: number; until: number }[] = [];
  private failedAt: number | null = null;
  private timer = 0;
  private busy = false;
  /** The oldest state that the server holds, in Unix seconds; null when that is not known. */
  oldest: number | null = null;

  /** `take` is given every answer, `settled` called after it, or when none could be had. */
  constructor(
    private readonly fetch: (moment: number) => Promise<StateHistory>,
    private readonly take: (states: StateHistory) => void,
    private readonly settled: () => void,
  ) {}

  /** Ask anew: another process answers from now on, or its clock was set, or a recording is at another place. */
  forget(): void {
    this.answers = [];
    this.failedAt = null;
    this.oldest = null;
  }

  /** Sees to it that the states around a moment (Unix seconds) are there, and says how that stands. */
  want(moment: number): Asking {
    window.clearTimeout(this.timer);
    const answered = ({ asked, from, until }: (typeof this.answers)[0]) =>
      asked === moment || (from <= moment && moment < until);
    if (this.answers.some(answered)) return "known";
    if (this.failedAt === moment) return "failed";
    this.timer = window.setTimeout(() => void this.ask(moment), REST_MS);
    return "loading";
  }

  private async ask(moment: number): Promise<void> {
    if (this.busy) return; // once that is settled, whoever looks says anew what is wanted
    this.busy = true;
    this.failedAt = null;
    try {
      const states = await this.fetch(moment);
      this.take(states);
      this.oldest = states.oldest_at;
      this.answers.push({ asked: moment, ...stretch(states, moment) });
      if (this.answers.length > REMEMBERED) this.answers.shift();
    } catch {
      this.failedAt = moment;
    }
    this.busy = false;
    this.settled();
  }
}

function stretch({ at, until }: StateHistory, asked: number): { from: number; until: number } {
  const last = at.at(-1);
  // What is older than all that is held never comes back.
  return {
    from: at[0] ?? Number.NEGATIVE_INFINITY,
    until: until ?? (last === undefined ? asked : last + GROWS_S),
  };
}
