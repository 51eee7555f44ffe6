// The running page: live state, what is shown of it, and when. Messages are parsed on arrival and rendered once per
// animation frame; a hidden tab, which gets no frames, is brought up to date once a second.
import { batch, computed, signal } from "@preact/signals";
import * as api from "./api";
import { windowMin, zoom } from "./choices";
import { localMs } from "./clock";
import { Connection, type Link } from "./connection";
import { type Asking, StateFetcher } from "./fetcher";
import { moment } from "./format";
import { nextIncident } from "./incidents";
import { asMessages, type Known, pastAt } from "./past";
import { PeersFetcher, placeOf } from "./peers";
import { engineRows, meanLoad } from "./rows";
import { type Arrival, applyAll, EMPTY, type Live, LOG_SIZE } from "./store";
import { Timeline } from "./timeline";
import type { PeerPage, StreamMessage } from "./types.gen";

const TICK_MS = 200;
const HISTORY_S = 3600;
const WAVES = 1000;
/** Of so long before the moment shown each rank has a small line. */
export const SPARK_S = 60;

export const link = signal<Link>({ state: "connecting", attempt: 0 });

/** Local monotonic milliseconds as shown: ages grow with it. Stands still while a moment of the past is shown. */
export const now = signal(localMs());

/** The same, never frozen: for countdowns and for what is said about the connection itself. */
export const realNow = signal(localMs());

/** What is so, as far as it was heard. */
export const present = signal<Live>(EMPTY);

/** What is shown: the present, or a moment of the past. */
export const view = signal<Live>(EMPTY);

/** A moment of the past that the viewer looks at, and the end of the chart meanwhile; both Unix seconds. */
export interface LookBack {
  at: number;
  edge: number;
  known: Known;
  /** When what is shown was so: a little earlier. */
  shown: number;
  /** How it stands with what the server may know besides. */
  asking: Asking;
}

/** Null while the page is live. */
export const past = signal<LookBack | null>(null);

export const timeline = new Timeline();

/** Counts up when the timeline has changed. */
export const timelineVersion = signal(0);

/** Counts up when states of the past have come from the server. */
export const fetchedVersion = signal(0);

export const fetcher = new StateFetcher(
  api.states,
  (states) => {
    if (live.snapshot !== null) timeline.insert(asMessages(states, live.snapshot));
    fetchedVersion.value += 1;
  },
  lookAgain,
);

/** Who is connected, as was heard last. */
export const peers = signal<PeerPage | null>(null);

const peersFetcher = new PeersFetcher(api.peers, (page) => {
  peers.value = page;
});

/** Where a rank is, or was at the moment shown. */
export const place = (rank: number) => placeOf(peers.value, rank, past.value?.at ?? null);

export const connected = computed(() => link.value.state === "open");

export const rows = computed(() => {
  const { snapshot, snapshotAt } = view.value;
  if (snapshot === null) return [];
  const heard = past.value === null ? connected.value : past.value.known === "all";
  const list = engineRows(snapshot, snapshotAt, now.value, heard);
  // "Never reported" would be a claim about a time that this page knows nothing of.
  return past.value?.known === "totals" ? list.map((row) => ({ ...row, status: "unknown" as const })) : list;
});

export const mean = computed(() => meanLoad(rows.value));

/** The server's wall clock as of now, in Unix seconds; null before anything was heard. */
export const serverNow = computed(() => {
  const { snapshot, snapshotAt } = present.value;
  if (snapshot === null) return null;
  // A recording's clock runs at a speed of its own.
  if (snapshot.recording) return snapshot.at;
  return snapshot.at + Math.max(0, realNow.value - snapshotAt) / 1000;
});

/** Quarters of an hour by the viewer's clock, in Unix seconds: days begin at one of them everywhere. */
const today = computed(() => {
  realNow.value;
  return Math.floor(Date.now() / 900_000) * 900;
});

/** A moment for people: the time of day, and the day before it unless it is today's. */
export const when = (at: number | null, millis = false) => moment(at, today.value, millis);

/** The moment that is shown, in Unix seconds. */
export const shownAt = computed(() => past.value?.at ?? serverNow.value);

let live: Live = EMPTY;
let pending: Arrival[] = [];
/** Apart from the rest: only the newest counts, and a hidden tab must not pile up the others. */
let pendingSnapshot: Arrival | null = null;
let scheduled = false;
let flushedAt = 0;

function flush(): void {
  scheduled = false;
  flushedAt = performance.now();
  settle();
  const at = localMs();
  if (live.snapshot !== null && connected.value && past.value === null) {
    peersFetcher.want(live.snapshot.peers_version, at);
  }
  batch(() => {
    realNow.value = at;
    timelineVersion.value += 1;
    present.value = live;
    if (past.value === null) {
      now.value = live.snapshot?.recording ? live.snapshotAt : at;
      view.value = live;
    }
  });
}

/** The right edge of the chart with which a moment is in sight: as it is, where that will do. */
function edgeFor(at: number, edge: number, end: number): number {
  if (zoom.value !== null && (at < zoom.value[0] || at > zoom.value[1])) zoom.value = null;
  const span = 60 * windowMin.value;
  return at <= edge && at > edge - span ? edge : Math.min(end, at + span / 2);
}

/** Shows the page as it was at a moment, in Unix seconds, or as near to it as anything is known. */
export function lookAt(wanted: number): void {
  const end = serverNow.value;
  if (end === null) return;
  const at = Math.min(wanted, end);
  const edge = edgeFor(at, past.value?.edge ?? end, end);
  const { live: then, known, at: shown } = pastAt(at, live, timeline);
  const asking = known === "all" ? "known" : fetcher.want(at);
  if (asking === "known") wantMinute(at);
  batch(() => {
    past.value = { at, edge, known, shown, asking };
    view.value = then;
    now.value = 0;
  });
}

/** Sees to it that what the server kept of the minute before a moment is there. */
function wantMinute(end: number): void {
  for (let at = end - SPARK_S; at < end - 2; at += 2) {
    if (timeline.stateAt(at) === null && fetcher.want(at) !== "known") return; // and on from there once it has come
  }
}

/** Sees to it that what the server kept between two moments is there, the newest first. */
export function wantStates(from: number, to: number): void {
  const ranks = present.value.snapshot?.engine_count ?? 1;
  const step = Math.max(2, timeline.holds(ranks) - 1);
  const oldest = Math.max(from, fetcher.oldest ?? from);
  for (let at = to; at > oldest + 1; at -= step) {
    if (timeline.stateAt(at) === null && fetcher.want(at) !== "known") return; // and on from there once it has come
  }
}

/** More may be known now. */
function lookAgain(): void {
  if (past.value !== null) lookAt(past.value.at);
  else if (serverNow.value !== null) wantMinute(serverNow.value);
}

export function backToLive(): void {
  past.value = null;
  flush();
}

/** Goes to the beginning of the alarm or restart before (-1) or after (1) the moment shown; after the last is the present. */
export function goToIncident(step: -1 | 1): void {
  if (shownAt.value === null) return;
  const at = nextIncident(present.value.log, shownAt.value, step);
  if (at !== null) lookAt(at);
  else if (step === 1 && past.value !== null) backToLive();
}

export function togglePast(): void {
  if (past.value !== null) backToLive();
  else if (serverNow.value !== null) lookAt(serverNow.value);
}

/** Applies what has arrived. Called by every flush, and before that when much has piled up. */
function settle(): void {
  const arrived = pendingSnapshot === null ? pending : [...pending, pendingSnapshot];
  if (arrived.length === 0) return;
  pending = [];
  pendingSnapshot = null;
  live = applyAll(live, arrived);
  if (live.mustReplay) {
    live = { ...live, mustReplay: false };
    connection.retryNow();
  }
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  if (document.hidden) window.setTimeout(flush, 1000);
  else requestAnimationFrame(flush);
}

function onMessage(message: StreamMessage | null): void {
  const arrival = { message, at: localMs() };
  if (message?.type === "snapshot") {
    pendingSnapshot = arrival;
    if (!live.outdated) timeline.push(message);
  } else if (message?.type === "hello") {
    settle();
    const { incarnation } = live;
    pending.push(arrival);
    settle();
    if (live.incarnation !== incarnation) peers.value = null;
    timeline.begin(live.incarnation);
    fetcher.forget();
    peersFetcher.forget();
    void fetchHistory();
  } else {
    pending.push(arrival);
    if (pending.length > LOG_SIZE) settle();
  }
  schedule();
}

/** The past that the server holds: load for the lines, waves for the bands behind them. */
async function fetchHistory(): Promise<void> {
  const [load, waves] = await Promise.allSettled([api.history(HISTORY_S), api.waves(WAVES)]);
  // Where one is missing the chart begins now; the stream itself tells whether the coordinator is there.
  if (load.status === "fulfilled") timeline.merge(load.value);
  if (waves.status === "fulfilled") timeline.noteWaves([...waves.value.waves].reverse());
  timelineVersion.value += 1;
  fetchedVersion.value += 1;
  lookAgain();
}

const connection = new Connection({
  onLink: (next) => {
    link.value = next;
    realNow.value = localMs();
  },
  onMessage,
  since: () => {
    settle();
    return live.lastSeq;
  },
});

export const retryNow = () => connection.retryNow();

export function start(): void {
  // Ages grow by themselves; while messages come they do so with these.
  window.setInterval(() => {
    if (performance.now() - flushedAt > TICK_MS / 2) schedule();
  }, TICK_MS);
  // A frame that was asked for just before the tab was hidden never comes; take stock when it is seen again.
  document.addEventListener("visibilitychange", () => {
    scheduled = false;
    schedule();
  });
  connection.connect();
}
