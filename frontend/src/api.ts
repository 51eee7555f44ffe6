// The REST calls that the page makes; the token, when one is needed, travels in an HttpOnly cookie. All addresses are
// relative to where the page was loaded: a proxy may show several deployments under paths of one host name.
import type {
  Action,
  History,
  Play,
  Playback,
  Problem,
  Session,
  StartWave,
  StateHistory,
  WavePage,
} from "./types.gen";

/** A request that the server answered with a problem; `message` is fit for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
  ) {
    super(detail);
  }
}

async function call(path: string, init: RequestInit = {}): Promise<unknown> {
  const response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...init });
  const body = parse(await response.text());
  if (response.ok) return body;
  throw problemOf(response, body);
}

function problemOf(response: Response, body: unknown): ApiError {
  const problem = (body ?? {}) as Partial<Problem>;
  return new ApiError(
    response.status,
    problem.title ?? `HTTP ${response.status}`,
    problem.detail ?? problem.title ?? `The server answered ${response.status}.`,
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const json = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

export const session = (timeoutMs: number) =>
  call("api/v1/session", { signal: AbortSignal.timeout(timeoutMs) }) as Promise<Session>;

export const login = (token: string) =>
  call("api/v1/login", json({ token, path: new URL(".", location.href).pathname }));

export const history = (windowS: number) => call(`api/v1/history?window_s=${windowS}`) as Promise<History>;

/** The whole states around a moment in Unix seconds. */
export const states = (at: number) =>
  call(`api/v1/history/states?at=${at.toFixed(3)}`, {
    signal: AbortSignal.timeout(10_000),
  }) as Promise<StateHistory>;

/** Who is connected: a `PeerPage`. */
export const peers = () => call("api/v1/peers", { signal: AbortSignal.timeout(10_000) });

/** The other coordinators: a `DeploymentPage`. */
export const deployments = () => call("api/v1/deployments", { signal: AbortSignal.timeout(10_000) });

/** The newest `limit` waves, newest first. */
export const waves = (limit: number) => call(`api/v1/waves?limit=${limit}`) as Promise<WavePage>;

/** Asks for a wave. The same key with the same body asks only once, however often it is sent. */
export const startWave = (body: StartWave, key: string) =>
  call("api/v1/waves", {
    ...json(body, { "Idempotency-Key": key }),
    signal: AbortSignal.timeout(10_000),
  }) as Promise<Action>;

/** Changes how a recording is played. */
export const play = (change: Play) => call("api/v1/view", json(change)) as Promise<Playback>;

/** The last minutes as a file, and its name. */
export async function recording(): Promise<[Blob, string]> {
  const response = await fetch("api/v1/recording", { cache: "no-store", credentials: "same-origin" });
  if (!response.ok) throw problemOf(response, parse(await response.text()));
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  return [await response.blob(), name ?? "recording.dprec"];
}

/** A key for one attempt. `crypto.randomUUID` exists on https and loopback only; this works on any origin. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
