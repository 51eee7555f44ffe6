// Messages for tests, with only what matters spelled out.
import {
  type Action,
  type EventMessage,
  type Hello,
  PROTOCOL,
  type Recovery,
  type SnapshotMessage,
  type WaveInfo,
} from "../src/types.gen";

export function hello(over: Partial<Hello> = {}): Hello {
  return {
    type: "hello",
    protocol: PROTOCOL,
    version: "0.1.0",
    started_at: 1000,
    now: 1060,
    last_seq: 0,
    replay_from: 1,
    ...over,
  };
}

export function event(seq: number, kind = "wave_started", over: Partial<EventMessage> = {}): EventMessage {
  const said = { group: "waves", tone: "good", text: `${kind} happened`, fields: {} } as const;
  return { type: "event", seq, at: 1000 + seq, kind, ...said, ...over };
}

export function snapshot(over: Partial<SnapshotMessage> = {}, engines = 2): SnapshotMessage {
  const column = <T>(value: T): T[] => Array.from({ length: engines }, () => value);
  return {
    type: "snapshot",
    number: 1,
    at: 1060,
    data_age_s: 0,
    current_wave: 3,
    engines_running: true,
    state: "running",
    state_text: "Wave 3 is running",
    state_tone: "good",
    state_age_s: 60,
    wave: {
      number: 3,
      asked_at: 1000,
      announced_at: 1000,
      joined: [],
      confirmed_at: 1001,
      confirmed_by: "rank 0, step 1",
    },
    peers_version: 0,
    ready: true,
    engine_count: engines,
    engines_subscribed: engines,
    front_ends: 1,
    totals: { waiting: 0, running: 0, left_out: null },
    engines: {
      waiting: column(0),
      running: column(1),
      kv_cache_usage: column(0.5),
      step_counter: column(32),
      current_wave: column(3),
      age_s: column(0.1),
      status: { most: "working", others: {} },
      restarts: column(0),
    },
    wave_coordination: true,
    dialect: "0.33",
    endpoints: { front_publish: "ipc://f", back_output: "ipc://o", back_publish: "ipc://p" },
    start_blocked: null,
    waves: [],
    actions: [],
    alarms: [],
    notices: [],
    restarts: 0,
    recovery: null,
    last_seq: 0,
    ...over,
  };
}

export function wave(over: Partial<WaveInfo> = {}): WaveInfo {
  return {
    number: 3,
    cause: "engine",
    cause_engine: 0,
    asked_at: 1000,
    started_at: 1000,
    ended_at: 1004,
    duration_s: 4,
    open: false,
    completed: true,
    peak_waiting: 0,
    peak_running: 1,
    confirmed: true,
    ...over,
  };
}

export function recovery(over: Partial<Recovery> = {}): Recovery {
  return {
    phase: "rejoining",
    resumed_wave: 57,
    resumed_at: 1000,
    engines_back: 3,
    engines_expected: 4,
    finished_at: null,
    text: "Recovering",
    ...over,
  };
}

export function action(over: Partial<Action> = {}): Action {
  return {
    id: "a1",
    wave: 3,
    reason: "a test",
    caller: "127.0.0.1",
    state: "asked",
    asked_at: 1000,
    age_s: 0.4,
    joined: [],
    silent: [0, 1, 2, 3],
    confirmed_by: null,
    took_s: null,
    engine_count: 4,
    summary: "",
    ...over,
  };
}
