import { computed, signal } from "@preact/signals";
import { past, view } from "../app";
import { logFilter } from "../choices";
import { asJson, EVERYTHING, GROUPS, matches } from "../events";
import { count } from "../format";
import { LOG_SIZE, type LogEntry } from "../store";
import { CopyButton, Icon, Panel, Scroller } from "./ui";
import { When } from "./When";

const STEP = 100;

const limit = signal(STEP);

/** The same list until something is added to it: only then is the panel drawn again. */
const log = computed(() => view.value.log);

const filtered = computed(() => log.value.filter((entry) => matches(entry, logFilter.value)));

const kinds = computed(() => {
  const known = new Set<string>();
  for (const entry of log.value) if (entry.type === "event") known.add(entry.kind);
  if (!["", EVERYTHING].includes(logFilter.value) && !GROUPS.includes(logFilter.value))
    known.add(logFilter.value);
  return [...known].sort().join(" ");
});

function Tools() {
  const list = kinds.value.split(" ").filter((kind) => kind !== "");
  return (
    <>
      <select
        class="input"
        aria-label="Show events of kind"
        value={logFilter.value}
        onChange={(event) => {
          logFilter.value = event.currentTarget.value;
          limit.value = STEP;
        }}
      >
        <option value="">All but routine</option>
        <option value={EVERYTHING}>All events</option>
        <optgroup label="Groups">
          {GROUPS.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </optgroup>
        <optgroup label="Kinds seen">
          {list.map((kind) => (
            <option key={kind} value={kind}>
              {kind}
            </option>
          ))}
        </optgroup>
      </select>
      <CopyButton label="Copy JSON" what="the shown events as JSON" text={() => asJson(filtered.value)} />
    </>
  );
}

function Entry({ entry }: { entry: LogEntry }) {
  if (entry.type === "marker") {
    return (
      <li class="log-marker">
        <Icon name="warn" />
        <span>{entry.text}</span>
      </li>
    );
  }
  const { text, tone } = entry;
  return (
    <li class={`log-entry log-${tone}`} data-kind={entry.kind}>
      <When at={entry.at} millis note={`event ${entry.seq} · ${entry.kind}`} />
      <Icon name={tone} />
      <span class="log-text" title={text}>
        {text}
      </span>
    </li>
  );
}

/** An entry that counts further is the same line. */
const keyOf = (entry: LogEntry) => (entry.type === "marker" ? entry.key : `${entry.first_seq}-${entry.kind}`);

/** An empty log is one in which nothing happened only if nobody forgot anything. */
const none = () =>
  past.value === null
    ? "Nothing has happened yet."
    : "No event of so long ago is held, or nothing had happened.";

export function LogPanel() {
  const all = filtered.value;
  const newest = all.slice(-limit.value).reverse();
  const held = log.value.length;
  const said = held >= LOG_SIZE ? `the newest ${count(LOG_SIZE)}` : count(held);
  return (
    <Panel
      id="log"
      title="Events"
      note={logFilter.value === EVERYTHING ? said : `${count(all.length)} of ${said}`}
      tools={<Tools />}
    >
      {newest.length === 0 ? (
        <p class="empty">{held === 0 ? none() : "No event of this kind."}</p>
      ) : (
        <Scroller class="log-scroll" label="Events, newest first, scrollable">
          <ol class="log" reversed>
            {newest.map((entry) => (
              <Entry key={keyOf(entry)} entry={entry} />
            ))}
          </ol>
          {all.length > newest.length && (
            <button
              type="button"
              class="button button-small log-more"
              onClick={() => {
                limit.value += 4 * STEP;
              }}
            >
              Show older ({count(all.length - newest.length)})
            </button>
          )}
        </Scroller>
      )}
    </Panel>
  );
}
