// Made by `python -m dp_coordinator.web.api.schema --typescript`; do not edit by hand.
import { anything, dictionary, list, nullable, num, type Of, object, oneOf, optional, text, truth } from "./checks";

export const PROTOCOL = 3;

/** How a manual start stands. */
export const isActionState = oneOf("asked", "cannot_tell", "observed", "timed_out");
export type ActionState = Of<typeof isActionState>;

/** A rank that joined by its own word, and how long after the ask. */
export const isRankSeen = object({
  engine_index: num,
  after_s: num,
});
export interface RankSeen extends Of<typeof isRankSeen> {}

/** A manual start: what was asked, and what was observed of it. */
export const isAction = object({
  id: text,
  wave: num,
  reason: text,
  caller: text,
  state: isActionState,
  asked_at: num,
  age_s: num,
  joined: list(isRankSeen),
  /** Ranks of which nothing was seen. */
  silent: list(num),
  /** What showed that all ranks step: a finished step, or the wave's end, takes every rank. */
  confirmed_by: nullable(text),
  /** Seconds from the ask until a step was confirmed, or until it was given up; null while waiting. */
  took_s: nullable(num),
  engine_count: num,
  /** The outcome in one sentence. */
  summary: text,
});
export interface Action extends Of<typeof isAction> {}

/** What can be wrong. At most one alarm of a kind stands at a time. */
export const isAlarmKind = oneOf("asked_not_stepping", "bad_frames", "deployment_stands", "endpoint_silent", "engine_gone", "engine_surplus", "fresh_start", "front_end_gone", "journal_failed", "load_imbalance", "never_heard", "part_missing", "publication_late", "rank_fault", "rank_hung", "rank_silent", "recovery_under_way", "same_index", "socket_unreachable", "source_unusable", "webhook_failing", "work_held_up");
export type AlarmKind = Of<typeof isAlarmKind>;

/** How soon somebody should look. */
export const isSeverity = oneOf("critical", "warning");
export type Severity = Of<typeof isSeverity>;

/** Something that is wrong now. It goes away by itself when that is over. */
export const isAlarm = object({
  kind: isAlarmKind,
  /** critical: requests hang, or soon will. */
  severity: isSeverity,
  /** When it began, which may be earlier than it was raised. */
  since: num,
  /** Seconds since then. */
  age_s: num,
  /** Who and what, in one line. */
  title: text,
  meaning: text,
  /** What to do. */
  remedy: text,
  /** Ranks it is about; empty where none can be named. */
  engines: list(num),
  /** Its numbers, by name: subscribed and expected engines, bad frames by channel and verdict, ... */
  counts: dictionary(num),
});
export interface Alarm extends Of<typeof isAlarm> {}

/** An alarm, for one row of another page. */
export const isAlarmInShort = object({
  kind: isAlarmKind,
  severity: isSeverity,
  title: text,
  age_s: num,
});
export interface AlarmInShort extends Of<typeof isAlarmInShort> {}

/** What is posted to a webhook: an alarm was raised, or has cleared. Times are Unix seconds. */
export const isAlarmMessage = object({
  event: oneOf("cleared", "raised"),
  /** The same for the two messages of one alarm; with `event` it tells a message that comes twice. */
  incident: text,
  /** Its name; empty where it has none. */
  deployment: text,
  alarm: isAlarmKind,
  severity: isSeverity,
  /** Who and what, in one line. */
  title: text,
  meaning: text,
  remedy: text,
  /** Ranks that it is about, the first 64; empty where none can be named. */
  engines: list(num),
  /** How many ranks besides. */
  more_engines: num,
  /** When it began, which may be earlier than it was raised. */
  since: num,
  /** When it was raised or cleared. */
  at: num,
  /** From the beginning to the end; null when it was raised. */
  lasted_s: nullable(num),
  /** The page at that moment. */
  link: text,
  /** All of it in a sentence or two. */
  text: text,
  /** dp-coordinator's own. */
  version: text,
});
export interface AlarmMessage extends Of<typeof isAlarmMessage> {}

/** `GET /api/v1/alarms`: critical ones first, the oldest of each first. */
export const isAlarmPage = object({
  alarms: list(isAlarm),
});
export interface AlarmPage extends Of<typeof isAlarmPage> {}

/** The coordinator's sockets, each with connections of its own. */
export const isChannel = oneOf("back_output", "back_publish", "front_publish");
export type Channel = Of<typeof isChannel>;

/** One thing that health depends on. */
export const isCheck = object({
  name: text,
  ok: truth,
  detail: text,
});
export interface Check extends Of<typeof isCheck> {}

/** What an operator may set. */
export const isCorrected = oneOf("engine_count", "wave");
export type Corrected = Of<typeof isCorrected>;

/** What was set, and what it was before. */
export const isCorrectionMade = object({
  corrected: isCorrected,
  before: num,
  after: num,
});
export interface CorrectionMade extends Of<typeof isCorrectionMade> {}

/** What the deployment does, as far as anything shows it. */
export const isDeploymentState = oneOf("paused", "recovering", "running", "serving", "starting", "waiting");
export type DeploymentState = Of<typeof isDeploymentState>;

/** How what is said should look. */
export const isTone = oneOf("bad", "good", "plain", "warn");
export type Tone = Of<typeof isTone>;

/** `GET /api/v1/summary`: a deployment in a row. */
export const isSummary = object({
  /** What it is called; empty where nobody named it. */
  name: text,
  state: isDeploymentState,
  state_text: text,
  state_tone: isTone,
  state_age_s: num,
  /** Seconds since its loop last vouched for this. */
  data_age_s: num,
  current_wave: num,
  engine_count: num,
  engines_subscribed: num,
  waiting: nullable(num),
  running: nullable(num),
  /** All that stand, critical ones first. */
  alarms: list(isAlarmInShort),
  started_at: num,
  version: text,
  /** Whether all of this is out of a recording. */
  recording: truth,
});
export interface Summary extends Of<typeof isSummary> {}

/** Another coordinator or watch, as it was heard last. */
export const isOtherDeployment = object({
  /** Where it was asked. */
  url: text,
  /** What it answered last; null when it never did. */
  summary: nullable(isSummary),
  /** Seconds since then. */
  heard_age_s: nullable(num),
  /** Why it does not answer; null while it does. */
  gone: nullable(text),
});
export interface OtherDeployment extends Of<typeof isOtherDeployment> {}

/** `GET /api/v1/deployments`: the others that `--peers` names. */
export const isDeploymentPage = object({
  deployments: list(isOtherDeployment),
  /** Why the file that names them cannot be used as it is now. */
  problem: nullable(text),
});
export interface DeploymentPage extends Of<typeof isDeploymentPage> {}

/** Where engines and front-ends connect: the addresses as bound (a TCP port 0 is replaced by the real one). */
export const isEndpoints = object({
  front_publish: text,
  back_output: text,
  back_publish: text,
});
export interface Endpoints extends Of<typeof isEndpoints> {}

/** What a rank does, as far as anything shows it. */
export const isEngineStatus = oneOf("gone", "idle", "joining", "never", "quiet", "suspect", "working");
export type EngineStatus = Of<typeof isEngineStatus>;

/** Who told what is known of a rank. */
export const isSourceKind = oneOf("reports", "sglang", "tap", "vllm");
export type SourceKind = Of<typeof isSourceKind>;

/** Where a rank is: its connection, or the one that it had. */
export const isEnginePeer = object({
  /** For people: `pid 2919 VLLM::EngineCore_DP3`, or `10.0.0.7:51234`. */
  name: text,
  /** `10.0.0.7:51234`, or `ipc`. */
  address: text,
  /** Its IP address; empty for ipc, which is this machine. */
  host: text,
  pid: nullable(num),
  /** Its process's title, where that can be read. */
  title: text,
  connected_at: num,
  ended_at: nullable(num),
  /** How the connection ended. */
  why: nullable(text),
  /** Its process's user, where the kernel tells (ipc). */
  uid: optional(nullable(num)),
});
export interface EnginePeer extends Of<typeof isEnginePeer> {}

/** What the sources say of a rank, beside what it reported: each number with its age. */
export const isEngineSource = object({
  /** Who told the newest of these numbers. */
  source: isSourceKind,
  /** Where it was told: its URL, or a tap's address. */
  target: text,
  /** URL that serves this rank; empty where only a tap told of it. */
  address: text,
  /** Requests that wait, deferred ones among them, which a report leaves out. */
  waiting: nullable(num),
  waiting_age_s: nullable(num),
  running: nullable(num),
  running_age_s: nullable(num),
  kv_cache_usage: nullable(num),
  kv_cache_usage_age_s: nullable(num),
  /** A number that grows with every step that makes tokens. */
  heartbeat: nullable(num),
  /** What it counts: `steps` or `tokens`. */
  heartbeat_unit: text,
  /** Seconds since it was told. */
  heartbeat_age_s: nullable(num),
  /** Seconds since it was last seen to grow; null when it never was. */
  grew_age_s: nullable(num),
  /** What is out of the ordinary with the rank, and what was said of it. */
  conditions: dictionary(text),
});
export interface EngineSource extends Of<typeof isEngineSource> {}

/** One data-parallel rank. `age_s` is seconds since its numbers were last told, by whom `source` says. */
export const isEngine = object({
  index: num,
  waiting: nullable(num),
  running: nullable(num),
  kv_cache_usage: nullable(num),
  step_counter: nullable(num),
  current_wave: nullable(num),
  age_s: nullable(num),
  status: isEngineStatus,
  restarts: num,
  /** Who told waiting, running, kv_cache_usage and their age; null when nobody did. */
  source: optional(nullable(isSourceKind)),
  /** The status in a sentence; on the stream it is left out. */
  status_text: optional(text),
  /** Null where no connection is known to be this rank's; on the stream it is left out. */
  peer: optional(nullable(isEnginePeer)),
  /** What sources say of it, beside what it reported; on the stream it is left out. */
  sourced: optional(nullable(isEngineSource)),
});
export interface Engine extends Of<typeof isEngine> {}

/** What every rank is, in short: a word for each of a thousand would be a sixth of all that is sent. */
export const isStatuses = object({
  most: isEngineStatus,
  /** The ranks that are something else. */
  others: dictionary(list(num)),
});
export interface Statuses extends Of<typeof isStatuses> {}

/** Who told each rank's numbers, in short; a rank that nobody told of is in none. */
export const isProvenance = object({
  most: nullable(isSourceKind),
  /** The ranks whose numbers somebody else told. */
  others: dictionary(list(num)),
  /** The ranks of which nothing was told. */
  nobody: list(num),
});
export interface Provenance extends Of<typeof isProvenance> {}

/** Engines as columns in index order. */
export const isEngineColumnsMessage = object({
  waiting: list(nullable(num)),
  running: list(nullable(num)),
  kv_cache_usage: list(nullable(num)),
  step_counter: list(nullable(num)),
  current_wave: list(nullable(num)),
  /** Age at the moment the message was made; the page lets it grow by itself. */
  age_s: list(nullable(num)),
  status: isStatuses,
  restarts: list(num),
  provenance: optional(isProvenance),
});
export interface EngineColumnsMessage extends Of<typeof isEngineColumnsMessage> {}

/** `GET /api/v1/engines`. */
export const isEnginePage = object({
  engines: list(isEngine),
});
export interface EnginePage extends Of<typeof isEnginePage> {}

/** What an entry of the event log is about. */
export const isEventGroup = oneOf("START", "alarms", "corrections", "engines", "frames", "front-ends", "manual starts", "other", "recording", "restarts", "sources", "waves");
export type EventGroup = Of<typeof isEventGroup>;

/** One event-log entry; `seq` counts events 1, 2, 3, ... since the process started: it is the newest one's in it. */
export const isEvent = object({
  seq: num,
  /** Of the first event in it: what was told of these before, this replaces. */
  first_seq: num,
  at: num,
  kind: text,
  group: isEventGroup,
  tone: isTone,
  /** What happened, in a sentence. What steers, reorders or hides in a text from outside is escaped in it. */
  text: text,
  fields: dictionary(anything),
});
export interface Event extends Of<typeof isEvent> {}

/** One event-log entry, in order. */
export const isEventMessage = object({
  type: oneOf("event"),
  seq: num,
  /** Of the first event in it: what was told of these before, this replaces. */
  first_seq: num,
  at: num,
  kind: text,
  group: isEventGroup,
  tone: isTone,
  /** What happened, in a sentence. What steers, reorders or hides in a text from outside is escaped in it. */
  text: text,
  fields: dictionary(anything),
});
export interface EventMessage extends Of<typeof isEventMessage> {}

/** `GET /api/v1/events`: entries oldest first; ask again with `since=next_since`. */
export const isEventPage = object({
  events: list(isEvent),
  next_since: num,
  last_seq: num,
  /** Some entries after `since` are no longer held. */
  truncated: truth,
  /** When the coordinator started: a change of it means that event numbers start again. */
  started_at: num,
});
export interface EventPage extends Of<typeof isEventPage> {}

/** Events `first` to `last` are not held any more: the viewer was too slow or away too long. */
export const isGapMessage = object({
  type: oneOf("gap"),
  first: num,
  last: num,
  /** Newer ones are held, and these made room: the oldest of the kinds that come most often go first. */
  thinned: optional(truth),
});
export interface GapMessage extends Of<typeof isGapMessage> {}

/** `GET /livez` and `GET /readyz`; `checks` is filled by `?verbose` and whenever something is not ok. */
export const isHealth = object({
  ok: truth,
  checks: list(isCheck),
});
export interface Health extends Of<typeof isHealth> {}

/** A recording that is shown instead of a running coordinator. */
export const isPlayback = object({
  name: text,
  /** The moment that is shown. */
  at: num,
  /** Seconds from the recording's first moment to the one shown. */
  position_s: num,
  duration_s: num,
  speed: num,
  paused: truth,
});
export interface Playback extends Of<typeof isPlayback> {}

/** First message: who is speaking, and what `?since=` meant. */
export const isHello = object({
  type: oneOf("hello"),
  /** 3. A page built for another number asks for a reload. */
  protocol: num,
  version: text,
  /** When the coordinator started: a change of it means that event numbers start again. */
  started_at: num,
  /** The server's wall clock. */
  now: num,
  last_seq: num,
  /** The first event number that follows; greater than since + 1 when some are no longer held. */
  replay_from: num,
  /** Null when this is live. */
  recording: optional(nullable(isPlayback)),
});
export interface Hello extends Of<typeof isHello> {}

/** `GET /api/v1/history`: columns, oldest first; null totals where nothing had been reported. */
export const isHistory = object({
  at: list(num),
  current_wave: list(num),
  state: list(isDeploymentState),
  waiting: list(nullable(num)),
  running: list(nullable(num)),
  front_ends: list(num),
  engines_subscribed: list(num),
});
export interface History extends Of<typeof isHistory> {}

/** One rank as a router wants to know it. What was never told is null, never 0. */
export const isRankLoad = object({
  rank: num,
  /** Where it is: HOST:PORT when that is where it takes requests, otherwise its host; null for this machine's ipc. */
  address: nullable(text),
  waiting: nullable(num),
  running: nullable(num),
  /** Share of the key-value cache in use, 0 to 1. */
  kv_cache_usage: nullable(num),
  /** Milliseconds since these numbers were told. An engine reports to its coordinator only when they change. */
  age_ms: nullable(num),
  /** Who told them; null where nobody has. */
  source: nullable(isSourceKind),
  state: isEngineStatus,
});
export interface RankLoad extends Of<typeof isRankLoad> {}

/** `GET /api/v1/loads`, and each event of `/api/v1/loads/stream`: all ranks in order. */
export const isLoadPage = object({
  loads: list(isRankLoad),
});
export interface LoadPage extends Of<typeof isLoadPage> {}

/** Body of `POST /api/v1/login`. */
export const isLogin = object({
  token: text,
  /** The folder from which the page was loaded: behind a proxy it is more than `/`, and the cookie is for it alone. */
  path: optional(text),
});
export interface Login extends Of<typeof isLogin> {}

/** What a viewer is told in passing. */
export const isNoticeKind = oneOf("recovery", "starting");
export type NoticeKind = Of<typeof isNoticeKind>;

/** Something that a viewer should be told in passing, for as long as it is here. */
export const isNotice = object({
  kind: isNoticeKind,
  tone: isTone,
  text: text,
});
export interface Notice extends Of<typeof isNotice> {}

/** What is at the other end of a connection. */
export const isPeerKind = oneOf("engine", "front-end", "tap", "unknown");
export type PeerKind = Of<typeof isPeerKind>;

/** A connection to one of the coordinator's sockets. */
export const isPeer = object({
  /** For people: `pid 2919 VLLM::EngineCore_DP3`, or `10.0.0.7:51234`. */
  name: text,
  /** `10.0.0.7:51234`, or `ipc`. */
  address: text,
  /** Its IP address; empty for ipc, which is this machine. */
  host: text,
  pid: nullable(num),
  /** Its process's title, where that can be read. */
  title: text,
  connected_at: num,
  ended_at: nullable(num),
  /** How the connection ended. */
  why: nullable(text),
  /** Its process's user, where the kernel tells (ipc). */
  uid: optional(nullable(num)),
  socket: isChannel,
  kind: isPeerKind,
  /** The rank that it is, where that is known. */
  engine: nullable(num),
});
export interface Peer extends Of<typeof isPeer> {}

/** `GET /api/v1/peers`: the connections that there are, oldest first, and those of engines that are gone. */
export const isPeerPage = object({
  /** Counts up with every change; `peers_version` of the state says when to ask again. */
  version: num,
  peers: list(isPeer),
  /** Of each rank which of `peers` it is: the one that its reports come by, where there is one. */
  places: list(nullable(num)),
  /** Of each rank whose numbers a source tells which one: its kind and where it is asked. */
  told: optional(list(nullable(text))),
});
export interface PeerPage extends Of<typeof isPeerPage> {}

/** Body of `POST /api/v1/view`: what is to change; null leaves it as it is. */
export const isPlay = object({
  speed: optional(nullable(num)),
  paused: optional(nullable(truth)),
  /** Seconds from the recording's first moment. */
  at: optional(nullable(num)),
});
export interface Play extends Of<typeof isPlay> {}

/** RFC 9457 problem details; `type` is `problems/<slug>`, relative like `instance` to what was asked for. */
export const isProblem = object({
  type: text,
  title: text,
  status: num,
  detail: text,
  instance: text,
});
export interface Problem extends Of<typeof isProblem> {}

/** What a rank can be, by a source's word, beside working or idle. */
export const isRankCondition = oneOf("dead", "paused", "scaling", "sleeping", "unhealthy");
export type RankCondition = Of<typeof isRankCondition>;

/** How far a coordinator that came back from a crash has got. */
export const isRecoveryPhase = oneOf("done", "rejoining", "settling");
export type RecoveryPhase = Of<typeof isRecoveryPhase>;

/** How far a coordinator that came back from a crash has got. */
export const isRecovery = object({
  /** rejoining: engines subscribe again; settling: START went out, one wave_complete is awaited; done. */
  phase: isRecoveryPhase,
  /** The wave it came back with. */
  resumed_wave: num,
  resumed_at: num,
  /** Engines subscribed now. */
  engines_back: num,
  engines_expected: num,
  finished_at: nullable(num),
  /** The same in a sentence. */
  text: text,
});
export interface Recovery extends Of<typeof isRecovery> {}

/** `GET /api/v1/session`: whether a token is needed here, and whether this request carried a valid one. */
export const isSession = object({
  token_required: truth,
  authenticated: truth,
  /** Why a stream of this client was just refused, which a browser does not tell its page. */
  stream_refused: optional(nullable(text)),
});
export interface Session extends Of<typeof isSession> {}

/** Body of `PUT /api/v1/engine-count`. */
export const isSetEngineCount = object({
  reason: text,
  engine_count: num,
  /** Refuse unless this is the engine count now. */
  expected_engine_count: num,
});
export interface SetEngineCount extends Of<typeof isSetEngineCount> {}

/** Body of `PUT /api/v1/wave`. */
export const isSetWave = object({
  reason: text,
  wave: num,
  /** Refuse unless this is the current wave. */
  expected_wave: num,
});
export interface SetWave extends Of<typeof isSetWave> {}

/** What is different in a snapshot from the one that was sent before it; all else is as it was. A viewer that does not hold snapshot `of` cannot use it. It is never sent one as long as it misses nothing. */
export const isSnapshotChange = object({
  type: oneOf("change"),
  /** Of the snapshot that this makes. */
  number: num,
  /** Of the snapshot that it changes. */
  of: num,
  /** Fields of the snapshot that are different, whole; all but `engines`. */
  fields: dictionary(anything),
  /** Columns that are different. `status` and `provenance` are whole. Of any other, for each rank: what is to be added to its value (to nothing, where that was null), then rounded to three places; null where it is null now. */
  engines: dictionary(anything),
});
export interface SnapshotChange extends Of<typeof isSnapshotChange> {}

/** What shows that the open wave runs. While none is open: the next one's number, and nulls. */
export const isWaveEvidence = object({
  number: num,
  /** When START was first broadcast for it. */
  asked_at: nullable(num),
  /** When front-ends were told that it runs. */
  announced_at: nullable(num),
  /** Ranks that are in it by their own word: start_wave, or a report of requests running in it. */
  joined: list(num),
  confirmed_at: nullable(num),
  /** What showed that all ranks step: a step that one of them has behind it takes all. */
  confirmed_by: nullable(text),
});
export interface WaveEvidence extends Of<typeof isWaveEvidence> {}

/** Sums over the engines that have reported and are not gone; null when none has. */
export const isTotals = object({
  waiting: nullable(num),
  running: nullable(num),
  /** What gone ranks had, which is not in the sums: `64 at rank 3, gone`. */
  left_out: nullable(text),
});
export interface Totals extends Of<typeof isTotals> {}

/** Who caused a START broadcast, and with it a wave. */
export const isWaveCause = oneOf("engine", "front-end", "manual", "reconnection", "recovery", "unknown");
export type WaveCause = Of<typeof isWaveCause>;

/** One wave; `GET /api/v1/waves` lists them newest first. */
export const isWaveInfo = object({
  number: num,
  cause: isWaveCause,
  cause_engine: nullable(num),
  asked_at: nullable(num),
  started_at: nullable(num),
  ended_at: nullable(num),
  /** From asked (or started) to ended, or to now while open; null when only the end was seen. */
  duration_s: nullable(num),
  open: truth,
  completed: truth,
  /** The most that waited at a time; null, as the next, where nobody was seen in the wave. */
  peak_waiting: nullable(num),
  peak_running: nullable(num),
  /** Something showed that all ranks stepped in it. */
  confirmed: truth,
});
export interface WaveInfo extends Of<typeof isWaveInfo> {}

/** The newest state, at most 10 a second; a slow viewer skips states, never events. */
export const isSnapshotMessage = object({
  type: oneOf("snapshot"),
  current_wave: num,
  /** What front-ends are told. */
  engines_running: truth,
  state: isDeploymentState,
  /** The same in a sentence, with what was asked apart from what was seen; `state_age_s` says for how long. */
  state_text: text,
  /** How it should look: as the worst alarm; good only where something confirms it. */
  state_tone: isTone,
  /** Seconds since the state last changed. */
  state_age_s: num,
  wave: isWaveEvidence,
  /** Every expected engine has subscribed and READY was sent. */
  ready: truth,
  engine_count: num,
  engines_subscribed: num,
  front_ends: num,
  totals: isTotals,
  /** How often this coordinator came back; 0 in its first incarnation. */
  restarts: num,
  /** Null unless it came back while engines were alive. While they rejoin, `engines_running` says what the coordinator tells front-ends, not what the engines do. */
  recovery: nullable(isRecovery),
  /** Counts up whenever somebody connects, is identified, or goes. */
  peers_version: num,
  engines: isEngineColumnsMessage,
  notices: list(isNotice),
  /** All that stand, critical ones first. */
  alarms: list(isAlarm),
  name: text,
  /** Counts up; a `SnapshotChange` names the one that it changes. */
  number: num,
  at: num,
  data_age_s: num,
  wave_coordination: truth,
  dialect: text,
  endpoints: isEndpoints,
  start_blocked: nullable(text),
  /** The newest 20, newest first. */
  waves: list(isWaveInfo),
  /** The newest 5, newest first. */
  actions: list(isAction),
  last_seq: num,
  recording: optional(nullable(isPlayback)),
  /** There is no coordinator here, only sources are shown: nothing can be started. */
  watching: optional(truth),
  /** Whether the last minutes are recorded, for `GET /api/v1/recording`. */
  recorded: optional(truth),
});
export interface SnapshotMessage extends Of<typeof isSnapshotMessage> {}

/** How a source's target answers. */
export const isTargetState = oneOf("answers", "new", "silent", "unusable");
export type TargetState = Of<typeof isTargetState>;

/** One place that is asked, or listened to. */
export const isTarget = object({
  name: text,
  /** What answers there; null while nobody knows. */
  kind: nullable(isSourceKind),
  state: isTargetState,
  /** Why it tells nothing now. */
  problem: nullable(text),
  /** Since when it has a problem. */
  since_at: nullable(num),
  /** When it last answered as it should; null: never. */
  answered_at: nullable(num),
  ranks: list(num),
});
export interface Target extends Of<typeof isTarget> {}

/** `GET /api/v1/sources`: the targets in their order, and how each answers. */
export const isSourcePage = object({
  targets: list(isTarget),
  /** The targets are instances of their own: ranks follow the order of targets. */
  independent: truth,
});
export interface SourcePage extends Of<typeof isSourcePage> {}

/** Body of `POST /api/v1/waves`. */
export const isStartWave = object({
  reason: text,
  expected_wave: optional(nullable(num)),
  wave: optional(nullable(num)),
});
export interface StartWave extends Of<typeof isStartWave> {}

/** `GET /api/v1/state`. */
export const isState = object({
  current_wave: num,
  /** What front-ends are told. */
  engines_running: truth,
  state: isDeploymentState,
  /** The same in a sentence, with what was asked apart from what was seen; `state_age_s` says for how long. */
  state_text: text,
  /** How it should look: as the worst alarm; good only where something confirms it. */
  state_tone: isTone,
  /** Seconds since the state last changed. */
  state_age_s: num,
  wave: isWaveEvidence,
  /** Every expected engine has subscribed and READY was sent. */
  ready: truth,
  engine_count: num,
  engines_subscribed: num,
  front_ends: num,
  totals: isTotals,
  /** How often this coordinator came back; 0 in its first incarnation. */
  restarts: num,
  /** Null unless it came back while engines were alive. While they rejoin, `engines_running` says what the coordinator tells front-ends, not what the engines do. */
  recovery: nullable(isRecovery),
  /** Counts up whenever somebody connects, is identified, or goes. */
  peers_version: num,
  engines: list(isEngine),
  dialect: text,
  wave_coordination: truth,
  min_stats_update_interval_ms: num,
  endpoints: isEndpoints,
  /** Why a manual start would be refused now; null when it would be accepted. */
  start_blocked: nullable(text),
  uptime_s: num,
  /** Seconds since the loop last vouched for this state; it does so at least once a second. */
  data_age_s: num,
  /** What the deployment is called; empty where nobody named it. */
  name: text,
  /** dp-coordinator's own version. */
  version: text,
  /** The coordinator's own process; a supervised one has another after every restart. */
  pid: num,
  /** Null when this is live; otherwise all of this is out of a recording. */
  recording: optional(nullable(isPlayback)),
  /** There is no coordinator here, only sources are shown: nothing can be started. */
  watching: optional(truth),
  /** Whether the last minutes are recorded, for `GET /api/v1/recording`. */
  recorded: optional(truth),
});
export interface State extends Of<typeof isState> {}

/** What may change from one moment to the next. Ranks' ages are to 10 ms, fractions to three places. */
export const isStateAt = object({
  current_wave: num,
  /** What front-ends are told. */
  engines_running: truth,
  state: isDeploymentState,
  /** The same in a sentence, with what was asked apart from what was seen; `state_age_s` says for how long. */
  state_text: text,
  /** How it should look: as the worst alarm; good only where something confirms it. */
  state_tone: isTone,
  /** Seconds since the state last changed. */
  state_age_s: num,
  wave: isWaveEvidence,
  /** Every expected engine has subscribed and READY was sent. */
  ready: truth,
  engine_count: num,
  engines_subscribed: num,
  front_ends: num,
  totals: isTotals,
  /** How often this coordinator came back; 0 in its first incarnation. */
  restarts: num,
  /** Null unless it came back while engines were alive. While they rejoin, `engines_running` says what the coordinator tells front-ends, not what the engines do. */
  recovery: nullable(isRecovery),
  /** Counts up whenever somebody connects, is identified, or goes. */
  peers_version: num,
  engines: isEngineColumnsMessage,
  notices: list(isNotice),
  /** All that stand, critical ones first. */
  alarms: list(isAlarm),
});
export interface StateAt extends Of<typeof isStateAt> {}

/** `GET /api/v1/history/states`: the states around a moment, one a second; waves and events tell the rest. Answers do not overlap: the states before these are found by asking for a moment before the first, and those after them by asking for `until`. */
export const isStateHistory = object({
  /** When each state was so, oldest first; empty when nothing so old is held. */
  at: list(num),
  states: list(isStateAt),
  /** When the states that follow these begin; null when these are the newest, of which there are more every second. */
  until: nullable(num),
  /** The oldest state that is held; null when none is. */
  oldest_at: nullable(num),
});
export interface StateHistory extends Of<typeof isStateHistory> {}

/** `GET /api/v1/waves`: newest first. */
export const isWavePage = object({
  waves: list(isWaveInfo),
});
export interface WavePage extends Of<typeof isWavePage> {}

export type StreamMessage = Hello | SnapshotMessage | SnapshotChange | EventMessage | GapMessage;
