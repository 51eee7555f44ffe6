// Made by `python -m dp_coordinator.web.api.schema --typescript`; do not edit by hand.

export type PhaseName = "paused" | "starting" | "running";

export type EngineStatus = "never" | "fresh" | "stale";

export type CauseName = "front-end" | "engine" | "manual" | "recovery" | "unknown";

export type ActionStateName = "asked" | "observed" | "timed_out";

export type AlarmKindName = "asked_not_stepping" | "rank_silent" | "work_held_up" | "load_imbalance" | "publication_late" | "bad_frames" | "engine_gone" | "front_end_gone" | "recovery_under_way" | "journal_failed" | "socket_unreachable" | "fresh_start" | "part_missing";

export type SeverityName = "critical" | "warning";

/** A manual start: what was asked, and what was observed of it. */
export interface Action {
  id: string;
  wave: number;
  reason: string;
  caller: string;
  state: ActionStateName;
  asked_at: number;
  age_s: number;
  seen: RankSeen[];
  silent: number[];
  /** True when something collective was the evidence: a finished step, or the wave's end, takes every rank. */
  collective: boolean;
  /** Seconds from the ask until all ranks were seen, or until it timed out; null while waiting. */
  took_s: number | null;
  engine_count: number;
  /** The outcome in one sentence. */
  summary: string;
}

/** Something that is wrong now. It goes away by itself when that is over. */
export interface Alarm {
  kind: AlarmKindName;
  /** critical: requests hang, or soon will. */
  severity: SeverityName;
  /** When it began, which may be earlier than it was raised. */
  since: number;
  /** Seconds since then. */
  age_s: number;
  /** Who and what, in one line. */
  title: string;
  meaning: string;
  /** What to do. */
  remedy: string;
  /** Ranks it is about; empty where none can be named. */
  engines: number[];
  /** Its numbers, by name: subscribed and expected engines, bad frames by channel and verdict, ... */
  counts: Record<string, number>;
}

/** `GET /api/v1/alarms`: critical ones first, the oldest of each first. */
export interface AlarmPage {
  alarms: Alarm[];
}

/** One thing that health depends on. */
export interface Check {
  name: string;
  ok: boolean;
  detail: string;
}

/** Where engines and front-ends connect. */
export interface EndpointInfo {
  front_publish: string;
  back_output: string;
  back_publish: string;
}

/** One data-parallel rank. `age_s` is seconds since its last report. */
export interface Engine {
  index: number;
  waiting: number | null;
  running: number | null;
  kv_cache_usage: number | null;
  step_counter: number | null;
  current_wave: number | null;
  age_s: number | null;
  status: EngineStatus;
  restarts: number;
  /** Seen stepping in the wave that is open. */
  stepping: boolean;
}

/** Engines as columns in index order. */
export interface EngineColumnsMessage {
  waiting: (number | null)[];
  running: (number | null)[];
  kv_cache_usage: (number | null)[];
  step_counter: (number | null)[];
  current_wave: (number | null)[];
  /** Age at the moment the message was made; the page lets it grow by itself. */
  age_s: (number | null)[];
  restarts: number[];
  /** Indexes (not a column) of ranks seen stepping in the open wave. */
  stepping: number[];
}

/** `GET /api/v1/engines`. */
export interface EnginePage {
  engines: Engine[];
}

/** One event-log entry; `seq` counts 1, 2, 3, ... since the process started. */
export interface Event {
  seq: number;
  at: number;
  kind: string;
  fields: Record<string, unknown>;
}

/** One event-log entry, in order and without gaps. */
export interface EventMessage {
  type: "event";
  seq: number;
  at: number;
  kind: string;
  fields: Record<string, unknown>;
}

/** `GET /api/v1/events`: entries oldest first; ask again with `since=next_since`. */
export interface EventPage {
  events: Event[];
  next_since: number;
  last_seq: number;
  /** Some entries after `since` are no longer held. */
  truncated: boolean;
  /** When the coordinator started: a change of it means that event numbers start again. */
  started_at: number;
}

/** Events `first` to `last` are not held any more: the viewer was too slow or away too long. */
export interface GapMessage {
  type: "gap";
  first: number;
  last: number;
}

/** `GET /livez` and `GET /readyz`; `checks` is filled by `?verbose` and whenever something is not ok. */
export interface Health {
  ok: boolean;
  checks: Check[];
}

/** First message: who is speaking, and what `?since=` meant. */
export interface Hello {
  type: "hello";
  /** 1. A page built for another number asks for a reload. */
  protocol: number;
  version: string;
  /** When the coordinator started: a change of it means that event numbers start again. */
  started_at: number;
  /** The server's wall clock. */
  now: number;
  last_seq: number;
  /** The first event number that follows; greater than since + 1 when some are no longer held. */
  replay_from: number;
  stale_after_s: number;
  /** Null when this is live. */
  recording?: Playback | null;
}

/** `GET /api/v1/history`: columns, oldest first; null totals where nothing had been reported. */
export interface History {
  at: number[];
  current_wave: number[];
  phase: PhaseName[];
  waiting: (number | null)[];
  running: (number | null)[];
  front_ends: number[];
  engines_subscribed: number[];
}

/** Body of `POST /api/v1/login`. */
export interface Login {
  token: string;
}

/** Body of `POST /api/v1/view`: what is to change; null leaves it as it is. */
export interface Play {
  speed?: number | null;
  paused?: boolean | null;
  /** Seconds from the recording's first moment. */
  at?: number | null;
}

/** A recording that is shown instead of a running coordinator. */
export interface Playback {
  name: string;
  /** The moment that is shown. */
  at: number;
  /** Seconds from the recording's first moment to the one shown. */
  position_s: number;
  duration_s: number;
  speed: number;
  paused: boolean;
}

/** RFC 9457 problem details; `type` is `/problems/<slug>`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
}

/** A rank that was seen stepping, and how long after the ask. */
export interface RankSeen {
  engine_index: number;
  after_s: number;
}

/** How far a coordinator that came back from a crash has got. */
export interface Recovery {
  /** rejoining: engines subscribe again; settling: START went out, one wave_complete is awaited; done. */
  phase: "done" | "rejoining" | "settling";
  /** The wave it came back with. */
  resumed_wave: number;
  resumed_at: number;
  /** Engines subscribed now. */
  engines_back: number;
  engines_expected: number;
  finished_at: number | null;
}

/** `GET /api/v1/session`: whether a token is needed here, and whether this request carried a valid one. */
export interface Session {
  token_required: boolean;
  authenticated: boolean;
}

/** The newest state, at most 10 a second; a slow viewer skips states, never events. */
export interface SnapshotMessage {
  type: "snapshot";
  current_wave: number;
  engines_running: boolean;
  phase: PhaseName;
  /** Seconds since the phase last changed. */
  phase_age_s: number;
  /** Seconds since START was last broadcast for the open wave; null when nothing was asked. */
  asked_age_s: number | null;
  /** Every expected engine has subscribed and READY was sent. */
  ready: boolean;
  engine_count: number;
  engines_subscribed: number;
  front_ends: number;
  totals: Totals;
  /** How often this coordinator came back; 0 in its first incarnation. */
  restarts: number;
  /** Null unless it came back while engines were alive. While they rejoin, `phase` and `engines_running` say what the coordinator tells front-ends, not what the engines do. */
  recovery: Recovery | null;
  engines: EngineColumnsMessage;
  /** All that stand, critical ones first. */
  alarms: Alarm[];
  at: number;
  data_age_s: number;
  wave_coordination: boolean;
  dialect: string;
  endpoints: EndpointInfo;
  start_blocked: string | null;
  /** The newest 20, newest first. */
  waves: WaveInfo[];
  /** The newest 5, newest first. */
  actions: Action[];
  last_seq: number;
  recording?: Playback | null;
}

/** Body of `POST /api/v1/waves`. */
export interface StartWave {
  reason: string;
  expected_wave?: number | null;
  wave?: number | null;
}

/** `GET /api/v1/state`. */
export interface State {
  current_wave: number;
  engines_running: boolean;
  phase: PhaseName;
  /** Seconds since the phase last changed. */
  phase_age_s: number;
  /** Seconds since START was last broadcast for the open wave; null when nothing was asked. */
  asked_age_s: number | null;
  /** Every expected engine has subscribed and READY was sent. */
  ready: boolean;
  engine_count: number;
  engines_subscribed: number;
  front_ends: number;
  totals: Totals;
  /** How often this coordinator came back; 0 in its first incarnation. */
  restarts: number;
  /** Null unless it came back while engines were alive. While they rejoin, `phase` and `engines_running` say what the coordinator tells front-ends, not what the engines do. */
  recovery: Recovery | null;
  /** Ranks seen stepping in the open wave. */
  stepping: number[];
  engines: Engine[];
  dialect: string;
  wave_coordination: boolean;
  min_stats_update_interval_ms: number;
  endpoints: EndpointInfo;
  /** Why a manual start would be refused now; null when it would be accepted. */
  start_blocked: string | null;
  uptime_s: number;
  /** Seconds since the loop last vouched for this state; it does so at least once a second. */
  data_age_s: number;
  /** dp-coordinator's own version. */
  version: string;
  /** The coordinator's own process; a supervised one has another after every restart. */
  pid: number;
  /** Null when this is live; otherwise all of this is out of a recording. */
  recording?: Playback | null;
}

/** What may change from one moment to the next. In the history, ages are to 10 ms and fractions to four places. */
export interface StateAt {
  current_wave: number;
  engines_running: boolean;
  phase: PhaseName;
  /** Seconds since the phase last changed. */
  phase_age_s: number;
  /** Seconds since START was last broadcast for the open wave; null when nothing was asked. */
  asked_age_s: number | null;
  /** Every expected engine has subscribed and READY was sent. */
  ready: boolean;
  engine_count: number;
  engines_subscribed: number;
  front_ends: number;
  totals: Totals;
  /** How often this coordinator came back; 0 in its first incarnation. */
  restarts: number;
  /** Null unless it came back while engines were alive. While they rejoin, `phase` and `engines_running` say what the coordinator tells front-ends, not what the engines do. */
  recovery: Recovery | null;
  engines: EngineColumnsMessage;
  /** All that stand, critical ones first. */
  alarms: Alarm[];
}

/** `GET /api/v1/history/states`: the states around a moment, one a second; waves and events tell the rest. Answers do not overlap: the states before these are found by asking for a moment before the first, and those after them by asking for `until`. */
export interface StateHistory {
  /** When each state was so, oldest first; empty when nothing so old is held. */
  at: number[];
  states: StateAt[];
  /** When the states that follow these begin; null when these are the newest, of which there are more every second. */
  until: number | null;
  /** The oldest state that is held; null when none is. */
  oldest_at: number | null;
}

/** Sums over the engines that have reported; null when none has. */
export interface Totals {
  waiting: number | null;
  running: number | null;
}

/** One wave; `GET /api/v1/waves` lists them newest first. */
export interface WaveInfo {
  number: number;
  cause: CauseName;
  cause_engine: number | null;
  asked_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  /** From asked (or started) to ended, or to now while open; null when only the end was seen. */
  duration_s: number | null;
  open: boolean;
  completed: boolean;
  peak_waiting: number;
  peak_running: number;
}

/** `GET /api/v1/waves`: newest first. */
export interface WavePage {
  waves: WaveInfo[];
}

export type StreamMessage = Hello | SnapshotMessage | EventMessage | GapMessage;
