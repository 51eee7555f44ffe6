import { signal } from "@preact/signals";
import { view } from "../app";
import { count } from "../format";
import { PROTOCOL } from "../types.gen";
import { STATUS_HELP } from "./Grid";
import { Notify } from "./Notify";
import { OtherPeers } from "./Place";
import { Button, Icon, type IconName, Modal, set } from "./ui";

export const helpOpen = signal(false);

const KEYS: readonly [string, string][] = [
  ["/", "filter engines"],
  ["a", "open the alarm, and the next; Enter opens the rank that it names"],
  ["↑ ↓", "in the table: from rank to rank; Enter opens one"],
  ["s", "start a wave"],
  ["p", "look back, and return to live"],
  ["[ ]", "the alarm or restart before, and after"],
  ["z", "times in UTC or local"],
  ["t", "theme: system, light, dark"],
  ["?", "this help"],
  ["Esc", "close, or leave the filter"],
];

/** What the deployment may be; what a rank may be stands in STATUS_HELP. */
const STATES: readonly [IconName, string, string][] = [
  ["starting", "waiting", "Engines are missing before READY"],
  ["paused", "paused", "No wave is open"],
  [
    "starting",
    "starting",
    "START was broadcast or a wave announced, and no rank has said yet that it works in it",
  ],
  [
    "running",
    "running",
    "Some rank works in the wave. Green once a step is confirmed, which takes all ranks; vLLM reports only when counts change, so one long request confirms nothing",
  ],
  ["serving", "serving", "There are no waves: every engine steps by itself"],
  [
    "starting",
    "recovering",
    "The coordinator died and came back, and not all engines have, or they have not ended the wave that it resumed",
  ],
];

function Word({ icon, word, text }: { icon: IconName; word: string; text: string }) {
  return (
    <>
      <dt>
        <Icon name={icon} /> {word}
      </dt>
      <dd>{text}.</dd>
    </>
  );
}

/** Where engines and front-ends connect. */
function Addresses() {
  const { snapshot } = view.value;
  if (snapshot === null) return null;
  return (
    <>
      <h2>Addresses</h2>
      <ul class="peers" data-testid="addresses">
        {(["front_publish", "back_output", "back_publish"] as const).map((name) => (
          <li key={name}>
            <span>{name}</span>
            <code>{snapshot.endpoints[name]}</code>
          </li>
        ))}
      </ul>
      <p class="muted">The wire format is that of vLLM {snapshot.dialect}.</p>
    </>
  );
}

function Versions() {
  const { hello, ignored } = view.value;
  return (
    <p class="muted">
      {hello === null ? "Not connected yet." : `Coordinator ${hello.version}, stream protocol ${PROTOCOL}.`}{" "}
      {ignored === 0
        ? "Every message was understood."
        : `${count(ignored)} ${ignored === 1 ? "message was" : "messages were"} not understood and left out.`}{" "}
      API: <a href="docs">docs</a> · metrics: <a href="metrics">metrics</a>
    </p>
  );
}

export function Help() {
  if (!helpOpen.value) return null;
  const close = set(helpOpen, false);
  return (
    <Modal label="Help" onClose={close}>
      <h2>Keyboard</h2>
      <dl class="keys">
        {KEYS.map(([key, text]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <h2>Alarms</h2>
      <Notify />
      <h2>What the words mean</h2>
      <dl class="words">
        {STATES.map(([icon, word, text]) => (
          <Word key={word} icon={icon} word={word} text={text} />
        ))}
        {(Object.keys(STATUS_HELP) as (keyof typeof STATUS_HELP)[]).map((word) => (
          <Word key={word} icon={word} word={word} text={`Of a rank: ${STATUS_HELP[word]}`} />
        ))}
      </dl>
      <Addresses />
      <OtherPeers />
      <Versions />
      <div class="modal-buttons">
        <Button look="primary" autofocus onClick={close}>
          Close
        </Button>
      </div>
    </Modal>
  );
}
