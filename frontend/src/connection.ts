// The WebSocket and its return: tells its listener of every change, knows nothing of the page.
import { ApiError, session } from "./api";
import { Snapshots } from "./changes";
import { localMs } from "./clock";
import { parseFrame } from "./protocol";
import { retryDelay } from "./reconnect";
import type { StreamMessage } from "./types.gen";

/** The server says something every second: when silent for this long it is gone, whatever the socket claims. */
const SILENCE_MS = 10_000;
/** A hello that does not come. */
const OPEN_MS = 8_000;

export type Link =
  | { state: "connecting"; attempt: number }
  | { state: "open" }
  | { state: "lost"; since: number; retryAt: number; attempt: number; why: string }
  | { state: "login" };

export interface Listener {
  onLink(link: Link): void;
  onMessage(message: StreamMessage | null): void;
  /** The number that `?since=` resumes from. */
  since(): number;
}

export class Connection {
  private socket: WebSocket | null = null;
  private timer = 0;
  private watchdog = 0;
  private attempt = 0;
  private heardAt = 0;
  private opened = false;
  private lostSince: number | null = null;
  private turn = 0;
  /** Asks for changes in place of whole snapshots; not any more once one was of no use. */
  private changes = true;

  constructor(private readonly listener: Listener) {}

  /** Opens the stream; on failure it tries again by itself. */
  connect(): void {
    this.drop();
    if (this.lostSince === null) this.listener.onLink({ state: "connecting", attempt: this.attempt });
    this.open();
  }

  retryNow(): void {
    this.attempt = 0;
    this.connect();
  }

  private open(): void {
    const query = `since=${this.listener.since()}&changes=${Number(this.changes)}`;
    const url = new URL(`api/v1/stream?${query}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.opened = false;
    this.heardAt = localMs();
    const snapshots = new Snapshots();
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.heardAt = localMs();
      for (const parsed of parseFrame(event.data)) {
        const message = snapshots.take(parsed);
        if (message === "missed") return this.missed();
        if (!this.opened && message?.type === "hello") this.established();
        this.listener.onMessage(message);
      }
    };
    socket.onclose = (event) => {
      if (this.socket === socket) void this.closed(event);
    };
    this.watchdog = window.setInterval(() => this.watch(), 1000);
  }

  private established(): void {
    this.opened = true;
    this.attempt = 0;
    this.lostSince = null;
    this.listener.onLink({ state: "open" });
  }

  /** A change of something that was not heard: from now on only whole snapshots will do. */
  private missed(): void {
    this.changes = false;
    this.retryNow();
  }

  private async closed(event: CloseEvent): Promise<void> {
    if (event.reason !== "") return this.lost(`The stream was closed: ${event.reason}.`);
    if (this.opened) return this.lost("The connection to the coordinator broke.");
    // A stream that is refused closes without saying why.
    this.drop();
    const turn = this.turn;
    const answer = await askSession();
    if (turn !== this.turn) return; // a later call took over
    if (answer === "silent") return this.lost("The coordinator does not answer.");
    if (answer !== "login") return this.lost(answer.refused);
    this.lostSince = null;
    this.listener.onLink({ state: "login" });
  }

  private watch(): void {
    const limit = this.opened ? SILENCE_MS : OPEN_MS;
    const silent = localMs() - this.heardAt;
    if (silent > limit) this.lost(`Nothing was heard for ${Math.round(silent / 1000)} s.`);
  }

  private lost(why: string): void {
    this.drop();
    const now = localMs();
    this.lostSince ??= now;
    const retryAt = now + retryDelay(this.attempt, Math.random());
    this.listener.onLink({ state: "lost", since: this.lostSince, retryAt, attempt: this.attempt, why });
    this.attempt += 1;
    this.timer = window.setTimeout(() => this.connect(), retryAt - now);
  }

  /** Lets go of the present socket and of every timer. */
  private drop(): void {
    this.turn += 1;
    window.clearTimeout(this.timer);
    window.clearInterval(this.watchdog);
    const socket = this.socket;
    this.socket = null;
    if (socket !== null) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
  }
}

/** Whether this page may listen, or why it may not. */
async function askSession(): Promise<{ refused: string } | "login" | "silent"> {
  const refused = "The coordinator answers, but refused the stream.";
  try {
    const { token_required, authenticated, stream_refused } = await session(OPEN_MS);
    if (token_required && !authenticated) return "login";
    return { refused: stream_refused ? `The coordinator refused the stream: ${stream_refused}.` : refused };
  } catch (error) {
    // A server without this route may still stream; one that does not answer at all cannot.
    return error instanceof ApiError && error.status < 500 ? { refused } : "silent";
  }
}
