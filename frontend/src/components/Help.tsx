import { signal } from "@preact/signals";
import { view } from "../app";
import { count } from "../format";
import { PROTOCOL } from "../types.gen";
import { Notify } from "./Notify";
import { OtherPeers } from "./Place";
import { Button, Icon, Modal, set } from "./ui";

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
        <dt>
          <Icon name="paused" /> paused
        </dt>
        <dd>No wave is open.</dd>
        <dt>
          <Icon name="starting" /> starting
        </dt>
        <dd>START was broadcast or a wave announced, and no rank has said yet that it works in it.</dd>
        <dt>
          <Icon name="running" /> running
        </dt>
        <dd>
          Some rank works in the wave. Green once a step is confirmed, which takes all ranks; vLLM reports
          only when counts change, so one long request confirms nothing.
        </dd>
        <dt>
          <Icon name="serving" /> serving
        </dt>
        <dd>There are no waves: every engine steps by itself.</dd>
        <dt>
          <Icon name="working" /> working
        </dt>
        <dd>The rank has requests, and lately news of them.</dd>
        <dt>
          <Icon name="quiet" /> quiet
        </dt>
        <dd>It has requests and nothing new, which is normal for long ones.</dd>
        <dt>
          <Icon name="suspect" /> suspect
        </dt>
        <dd>An alarm names it, and says why.</dd>
        <dt>
          <Icon name="gone" /> gone
        </dt>
        <dd>Its connection ended. What it had is not in the totals.</dd>
        <dt>
          <Icon name="never" /> never
        </dt>
        <dd>The rank has not reported since the coordinator started. This is not zero.</dd>
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
