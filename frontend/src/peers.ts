// Who is connected, and where each rank is, as the coordinator lists it: asked for when the stream says that it changed.
import { isPeerPage, type Peer, type PeerPage } from "./types.gen";

/** Connections may come and go by the thousand. */
const EVERY_MS = 1000;

export class PeersFetcher {
  private version: number | null = null;
  private askedAt = Number.NEGATIVE_INFINITY;
  private busy = false;
  private turn = 0;

  constructor(
    private readonly fetch: () => Promise<unknown>,
    private readonly take: (page: PeerPage) => void,
  ) {}

  /** Ask anew: another process may answer from now on. */
  forget(): void {
    this.version = null;
    this.turn += 1;
  }

  /** Called with every snapshot's version: an answer that is older, or none, is made good by the next call. */
  want(version: number, nowMs: number): void {
    if (version === this.version || this.busy || nowMs - this.askedAt < EVERY_MS) return;
    this.askedAt = nowMs;
    void this.ask();
  }

  private async ask(): Promise<void> {
    this.busy = true;
    const turn = this.turn;
    try {
      const page = await this.fetch();
      if (turn === this.turn && isPeerPage(page)) {
        this.version = page.version;
        this.take(page);
      }
    } catch {
      // The last answer stands; whether the coordinator is there the stream tells.
    }
    this.busy = false;
  }
}

/**
 * Where a rank is, or was at a moment (Unix seconds): of an earlier connection than the last one nothing is known, and
 * how one ended is known only afterwards.
 */
export function placeOf(page: PeerPage | null, rank: number, at: number | null): Peer | null {
  const peer = page?.peers[page.places[rank] ?? -1] ?? null;
  if (peer === null || at === null) return peer;
  if (peer.connected_at > at) return null;
  return peer.ended_at !== null && peer.ended_at > at ? { ...peer, ended_at: null, why: null } : peer;
}

/** Front-ends and taps: those that are in no table. */
export const others = (page: PeerPage): Peer[] =>
  page.peers.filter(({ kind }) => kind === "front-end" || kind === "tap");
