import { computed } from "@preact/signals";
import { connected, now, past, timeline, timelineVersion, view, when } from "../app";
import { causeText, count, duration } from "../format";
import { elapsedSince } from "../rows";
import { quantile } from "../spread";
import type { SnapshotMessage, WaveInfo } from "../types.gen";
import { TONES } from "./StartWave";
import { Icon, Panel, Scroller } from "./ui";
import { When } from "./When";

const lasted = (wave: WaveInfo, elapsed: number) =>
  wave.open && wave.duration_s !== null ? wave.duration_s + elapsed : wave.duration_s;

/** How long it took, with a bar to the scale of the longest in the list. */
function Duration({ wave, elapsed, longest }: { wave: WaveInfo; elapsed: number; longest: number }) {
  const seconds = lasted(wave, elapsed);
  const part = seconds === null ? 0 : Math.min(1, seconds / Math.max(longest, 1e-9));
  return (
    <span class={wave.open ? "wave-duration wave-open" : "wave-duration"}>
      <span class="wave-bar" aria-hidden="true">
        <span style={{ width: `${100 * part}%` }} />
      </span>
      {duration(seconds)}
    </span>
  );
}

/** Seconds that the completed waves of the last hour took, ascending. */
const durations = computed(() => {
  timelineVersion.value;
  const all = timeline.bands(0, Number.POSITIVE_INFINITY);
  const done = all.filter(({ info }) => info.completed && info.duration_s !== null);
  const key = `${done.length} ${done.at(-1)?.end}`;
  if (key !== known.key)
    known = { key, seconds: done.map(({ info }) => info.duration_s ?? 0).sort((a, b) => a - b) };
  return known.seconds;
});

let known: { key: string; seconds: number[] } = { key: "", seconds: [] };

function note() {
  const all = durations.value;
  if (all.length === 0) return undefined;
  const said = `median ${duration(quantile(all, 0.5))}, p95 ${duration(quantile(all, 0.95))}`;
  return past.value === null ? `${said} of ${count(all.length)} in the last hour` : undefined;
}

/** What else there is to say of a wave than that it ran and was completed. */
function tag(wave: WaveInfo): string | null {
  if (wave.open) return "open";
  if (wave.completed) return null;
  if (wave.ended_at === null) return "cut off";
  return wave.started_at === null ? "not started" : "overtaken";
}

interface RowProps {
  wave: WaveInfo;
  elapsed: number;
  longest: number;
}

function Row({ wave, elapsed, longest }: RowProps) {
  const state = tag(wave);
  return (
    <tr class={wave.open ? "row-open" : ""} data-confirmed={wave.confirmed}>
      <th scope="row" class="number">
        {count(wave.number)}
      </th>
      <td class="text">
        <span class="cause">{causeText(wave.cause, wave.cause_engine)}</span>{" "}
        {state !== null && <span class="tag">{state}</span>}
      </td>
      <td class="number">
        <When at={wave.asked_at ?? wave.started_at} />
      </td>
      <td class="number">
        <Duration wave={wave} elapsed={elapsed} longest={longest} />
      </td>
      <td class="number minor">{count(wave.peak_waiting)}</td>
      <td class="number minor">{count(wave.peak_running)}</td>
    </tr>
  );
}

/** What came of the newest manual start: it stays in sight after the dialog is closed. */
function LastManual() {
  const action = view.value.snapshot?.actions[0];
  if (action === undefined) return null;
  const tone = TONES[action.state];
  return (
    <p class={`last-manual outcome-${tone}`}>
      <Icon name={tone === "waiting" ? "starting" : tone} />
      <span>
        Manual start at <When at={action.asked_at} />: {action.summary}
      </span>
    </p>
  );
}

/** Why there is none. */
function none(snapshot: SnapshotMessage): string {
  if (snapshot.watching && !snapshot.wave_coordination)
    return "Of waves nothing is known here: a tap on the coordinator would show them.";
  if (!snapshot.wave_coordination) return "Wave coordination is off: there are no waves.";
  if (past.value !== null) return "No wave of so long ago is held, or there had been none.";
  if (snapshot.restarts > 0) return "No wave since the restart; those before it are not held.";
  return "No wave yet. One starts when a request reaches a paused engine, or by hand.";
}

const HEADS = [
  ["Wave", "number"],
  ["Cause", "text"],
  ["Start", "number"],
  ["Duration", "number"],
  ["Peak waiting", "number minor"],
  ["Peak running", "number minor"],
] as const;

function Table({ snapshot }: { snapshot: SnapshotMessage }) {
  const { snapshotAt, earlier, hello } = view.value;
  const key = (wave: WaveInfo) => `${wave.number}-${wave.asked_at ?? wave.ended_at}`;
  const elapsed = connected.value ? elapsedSince(snapshotAt, now.value) : 0;
  const { waves } = snapshot;
  const longest = Math.max(0, ...[...waves, ...earlier].map((wave) => lasted(wave, elapsed) ?? 0));
  const shared = { longest };
  return (
    <Scroller class="table-scroll waves-scroll" label="Waves, scrollable">
      <table class="waves">
        <thead>
          <tr>
            {HEADS.map(([name, look]) => (
              <th key={name} scope="col" class={look}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {waves.map((wave) => (
            <Row key={key(wave)} wave={wave} elapsed={elapsed} {...shared} />
          ))}
          {earlier.length > 0 && (
            <tr class="waves-earlier">
              <td colSpan={HEADS.length}>
                before the restart at {when(hello?.started_at ?? null)}, as last heard
              </td>
            </tr>
          )}
          {earlier.map((wave) => (
            <Row key={`before-${key(wave)}`} wave={wave} elapsed={0} {...shared} />
          ))}
        </tbody>
      </table>
    </Scroller>
  );
}

export function WavePanel() {
  const { snapshot, earlier } = view.value;
  if (snapshot === null) return null;
  return (
    <Panel id="waves" title="Waves" note={note()}>
      <LastManual />
      {snapshot.waves.length + earlier.length === 0 ? (
        <p class="empty">{none(snapshot)}</p>
      ) : (
        <Table snapshot={snapshot} />
      )}
    </Panel>
  );
}
