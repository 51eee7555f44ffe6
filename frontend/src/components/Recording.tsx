// A recording instead of a live coordinator, said in large letters, with its controls; and the way to get one.
import { signal } from "@preact/signals";
import * as api from "../api";
import { present, when } from "../app";
import { save } from "../csv";
import { duration } from "../format";
import type { Play } from "../types.gen";
import { Button, Icon } from "./ui";

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64] as const;

const failed = signal<string | null>(null);

async function play(change: Play): Promise<void> {
  try {
    await api.play(change);
    failed.value = null;
  } catch (error) {
    failed.value = error instanceof Error ? error.message : String(error);
  }
}

export function RecordingBar() {
  const recording = present.value.snapshot?.recording ?? null;
  if (recording === null) return null;
  const { name, at, position_s, duration_s, speed, paused } = recording;
  return (
    <section class="banner banner-recording" aria-label="Recording">
      <Icon name="plain" />
      <strong>RECORDING</strong>
      <span>
        {name} · {when(at)}, nothing here is live
      </span>
      <div class="player">
        <Button onClick={() => void play({ paused: !paused })}>
          <Icon name={paused ? "running" : "paused"} />
          {paused ? "Play" : "Pause"}
        </Button>
        <input
          type="range"
          class="scrubber"
          min={0}
          max={Math.ceil(duration_s * 10) / 10}
          step={0.1}
          value={position_s}
          aria-label="Place in the recording"
          aria-valuetext={`${duration(position_s)} of ${duration(duration_s)}`}
          onChange={(event) => void play({ at: Number(event.currentTarget.value) })}
        />
        <span>
          {duration(position_s)} of {duration(duration_s)}
        </span>
        <select
          class="input"
          aria-label="Speed"
          value={String(speed)}
          onChange={(event) => void play({ speed: Number(event.currentTarget.value) })}
        >
          {SPEEDS.map((factor) => (
            <option key={factor} value={String(factor)}>
              {factor}×
            </option>
          ))}
        </select>
      </div>
      {failed.value !== null && <p role="alert">{failed.value}</p>}
    </section>
  );
}

const said = signal<string | null>(null);

async function download(): Promise<void> {
  said.value = "Fetching the recording…";
  try {
    const [file, name] = await api.recording();
    save(name, file);
    said.value = null;
  } catch (error) {
    said.value = error instanceof api.ApiError ? error.message : "The coordinator does not answer.";
  }
}

/** The last minutes as a file. */
export function DownloadRecording() {
  return (
    <span class="download">
      <button type="button" class="link" onClick={() => void download()}>
        Download recording
      </button>
      <span role="status">{said.value}</span>
    </span>
  );
}
