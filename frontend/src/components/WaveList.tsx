import { connected, now, past, view } from "../app";
import { causeText, count, duration, moment } from "../format";
import { elapsedSince } from "../rows";
import type { WaveInfo } from "../types.gen";
import { TONES } from "./StartWave";
import { Icon, Panel, Scroller } from "./ui";

function Duration({ wave, elapsed }: { wave: WaveInfo; elapsed: number }) {
  if (wave.open) {
    return (
      <span class="wave-open">{duration(wave.duration_s === null ? null : wave.duration_s + elapsed)}</span>
    );
  }
  return <>{duration(wave.duration_s)}</>;
}

/** What else there is to say of a wave than that it ran and was completed. */
function tag(wave: WaveInfo): string | null {
  if (wave.open) return "open";
  if (wave.completed) return null;
  if (wave.ended_at === null) return "cut off";
  return wave.started_at === null ? "not started" : "overtaken";
}

function Row({ wave, elapsed, today }: { wave: WaveInfo; elapsed: number; today: number }) {
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
      <td class="number">{moment(wave.asked_at ?? wave.started_at, today)}</td>
      <td class="number">
        <Duration wave={wave} elapsed={elapsed} />
      </td>
      <td class="number">
        {count(wave.peak_waiting)} / {count(wave.peak_running)}
      </td>
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
        Manual start at {moment(action.asked_at, view.value.snapshot?.at ?? null)}: {action.summary}
      </span>
    </p>
  );
}

export function WavePanel() {
  const { snapshot, snapshotAt, earlier, hello } = view.value;
  if (snapshot === null) return null;
  const key = (wave: WaveInfo) => `${wave.number}-${wave.asked_at ?? wave.ended_at}`;
  const elapsed = connected.value ? elapsedSince(snapshotAt, now.value) : 0;
  const { waves } = snapshot;
  return (
    <Panel id="waves" title="Waves" note={waves.length > 0 ? "newest first" : undefined}>
      <LastManual />
      {waves.length + earlier.length === 0 ? (
        <p class="empty">
          {snapshot.wave_coordination
            ? past.value !== null
              ? "No wave of so long ago is held, or there had been none."
              : snapshot.restarts > 0
                ? "No wave since the restart; those before it are not held."
                : "No wave yet. One starts when a request reaches a paused engine, or by hand."
            : snapshot.watching
              ? "Of waves nothing is known here: a tap on the coordinator would show them."
              : "Wave coordination is off: there are no waves."}
        </p>
      ) : (
        <Scroller class="table-scroll waves-scroll" label="Waves, scrollable">
          <table class="waves">
            <thead>
              <tr>
                <th scope="col" class="number">
                  Wave
                </th>
                <th scope="col" class="text">
                  Cause
                </th>
                <th scope="col" class="number">
                  Start
                </th>
                <th scope="col" class="number">
                  Duration
                </th>
                <th scope="col" class="number">
                  <abbr title="Peak waiting / peak running">Peak w/r</abbr>
                </th>
              </tr>
            </thead>
            <tbody>
              {waves.map((wave) => (
                <Row key={key(wave)} wave={wave} elapsed={elapsed} today={snapshot.at} />
              ))}
              {earlier.length > 0 && (
                <tr class="waves-earlier">
                  <td colSpan={5}>
                    before the restart at {moment(hello?.started_at ?? null, snapshot.at)}, as last heard
                  </td>
                </tr>
              )}
              {earlier.map((wave) => (
                <Row key={`before-${key(wave)}`} wave={wave} elapsed={0} today={snapshot.at} />
              ))}
            </tbody>
          </table>
        </Scroller>
      )}
    </Panel>
  );
}
