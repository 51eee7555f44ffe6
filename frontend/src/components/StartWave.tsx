import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { connected, present } from "../app";
import { blocked, closeStart, dialog, followed, openStart, type StartDialog, submitStart } from "../start";
import { Button, Icon, Modal } from "./ui";

/** How it looks what came of a start by hand. */
export const TONES = {
  asked: "waiting",
  observed: "good",
  timed_out: "bad",
  cannot_tell: "unknown",
} as const;

export function StartButton() {
  const why = blocked.value;
  if (present.value.snapshot?.watching) return null; // there is no coordinator that could start anything
  return (
    <div class="start">
      <Button
        look="primary"
        id="start-wave"
        aria-disabled={why !== null}
        aria-describedby="start-why"
        aria-keyshortcuts="s"
        onClick={openStart}
      >
        Start wave…
      </Button>
      <p id="start-why" class="start-why">
        {why === null ? "wakes every rank" : sentence(why)}
      </p>
    </div>
  );
}

const sentence = (text: string) => `Not now: ${text.replace(/\.$/, "")}`;

type FormState = Extract<StartDialog, { step: "form" }>;

function Form({ state }: { state: FormState }) {
  const [reason, setReason] = useState(state.reason);
  const field = useRef<HTMLTextAreaElement>(null);
  const why = blocked.value;
  const { snapshot } = present.value;
  const moved = snapshot !== null && snapshot.current_wave !== state.expected;
  useLayoutEffect(() => field.current?.focus(), []); // of a form made anew; a new dialog gives it the focus itself
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void submitStart(reason);
      }}
    >
      <h2>Start wave {state.expected}</h2>
      <p>
        Broadcasts START for wave {state.expected} to {snapshot?.engine_count ?? "all"} ranks. For the case
        that requests wait and nobody steps; ranks with nothing to do make dummy steps and the wave ends by
        itself.
      </p>
      <label for="start-reason">
        Reason <span class="muted">kept in the event log</span>
      </label>
      <textarea
        id="start-reason"
        ref={field}
        rows={2}
        maxLength={500}
        required
        value={reason}
        onInput={(event) => setReason(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            event.currentTarget.form?.requestSubmit();
          }
        }}
      />
      {state.refusal !== null && (
        <div class="notice notice-bad" role="alert">
          <p>
            <Icon name="bad" />
            <strong>{state.refusal.title}</strong>
          </p>
          <p>{state.refusal.detail}</p>
        </div>
      )}
      {moved && state.refusal === null && (
        <p class="notice">
          <Icon name="warn" />
          The current wave has become {snapshot?.current_wave} since this was opened: it would be refused.
        </p>
      )}
      {!moved && why !== null && state.refusal === null && (
        <p class="notice">
          <Icon name="warn" />
          {sentence(why)}
        </p>
      )}
      <div class="modal-buttons">
        <Button onClick={closeStart}>Cancel</Button>
        <Button look="primary" type="submit" disabled={state.sending || reason.trim() === ""}>
          {state.sending ? "Asking…" : "Start wave"}
        </Button>
      </div>
    </form>
  );
}

/** What is observed of a start that was asked, as it happens. */
function Follow() {
  const now = followed.value;
  if (now === null) return null;
  const { action, cut } = now;
  const tone = cut ? "bad" : TONES[action.state];
  const seen = new Map(action.joined.map((rank) => [rank.engine_index, rank.after_s]));
  return (
    <div>
      <h2>Start of wave {action.wave}</h2>
      <p class={`outcome outcome-${tone}`} role="status" data-testid="outcome">
        <Icon name={tone === "waiting" ? "starting" : tone} />
        {cut ? "The coordinator was restarted: what came of this is not known" : action.summary}
      </p>
      {!connected.value && (
        <p class="notice notice-bad">
          Disconnected: what happens now is not seen. The outcome comes with the connection.
        </p>
      )}
      {action.engine_count <= 64 && (
        <ul class="rank-dots" aria-label="Ranks that joined">
          {Array.from({ length: action.engine_count }, (_, index) => (
            <RankDot
              key={index}
              index={index}
              after={seen.get(index) ?? null}
              confirmed={action.confirmed_by !== null}
            />
          ))}
        </ul>
      )}
      {action.confirmed_by !== null && (
        <p class="muted">No rank can make a step without all the others: one that steps speaks for all.</p>
      )}
      <p class="muted">
        Reason: {action.reason}. Asked by {action.caller}.
      </p>
      <div class="modal-buttons">
        <Button look="primary" onClick={closeStart}>
          Close
        </Button>
      </div>
    </div>
  );
}

function RankDot({ index, after, confirmed }: { index: number; after: number | null; confirmed: boolean }) {
  const joined = after !== null || confirmed;
  const when = after === null ? "" : ` after ${Math.round(after * 1000)} ms`;
  const said = joined ? `${confirmed ? "stepping" : "joined"}${when}` : "not seen to join";
  return (
    <li class={joined ? "rank-dot rank-dot-on" : "rank-dot"} title={`rank ${index}: ${said}`}>
      <Icon name={confirmed ? "good" : joined ? "working" : "never"} />
      {index}
      <span class="visually-hidden">: {said}</span>
    </li>
  );
}

export function StartWaveDialog() {
  const state = dialog.value;
  if (state.step === "closed") return null;
  return (
    <Modal label="Start a wave by hand" onClose={closeStart}>
      {state.step === "form" ? <Form key={state.expected} state={state} /> : <Follow />}
    </Modal>
  );
}
