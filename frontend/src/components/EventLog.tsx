import { computed, signal } from "@preact/signals";
import { past, view } from "../app";
import { asJson, GROUPS, matches } from "../events";
import { count, moment } from "../format";
import { LOG_SIZE, type LogEntry } from "../store";
import { CopyButton, Icon, Panel, Scroller } from "./ui";

const STEP = 100;

const filter = signal("");
const limit = signal(STEP);

/** The same list until something is added to it: only then is the panel drawn again. */
const log = computed(() => view.value.log);

/** Quarters of an hour: days begin at one of them everywhere. */
const quarter = computed(() => Math.floor((view.value.snapshot?.at ?? 0) / 900));

const filtered = computed(() => log.value.filter((entry) => matches(entry, filter.value)));

const kinds = computed(() => {
  const known = new Set<string>();
  for (const entry of log.value) if (entry.type === "event") known.add(entry.kind);
  if (filter.value !== "" && !GROUPS.includes(filter.value)) known.add(filter.value);
  return [...known].sort().join(" ");
});

function Tools() {
  const list = kinds.value.split(" ").filter((kind) => kind !== "");
  return (
    <>
      <select
        class="input"
        aria-label="Show events of kind"
        value={filter.value}
        onChange={(event) => {
          filter.value = event.currentTarget.value;
          limit.value = STEP;
        }}
      >
        <option value="">All events</option>
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
      <time title={`event ${entry.seq} · ${entry.kind} · ${new Date(entry.at * 1000).toISOString()}`}>
        {moment(entry.at, quarter.value === 0 ? null : quarter.value * 900, true)}
      </time>
      <Icon name={tone} />
      <span>{text}</span>
    </li>
  );
}

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
      note={filter.value === "" ? said : `${count(all.length)} of ${said}`}
      tools={<Tools />}
    >
      {newest.length === 0 ? (
        <p class="empty">{held === 0 ? none() : "No event of this kind."}</p>
      ) : (
        <Scroller class="log-scroll" label="Events, newest first, scrollable">
          <ol class="log" reversed>
            {newest.map((entry) => (
              <Entry key={entry.type === "marker" ? entry.key : `${entry.seq}-${entry.at}`} entry={entry} />
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
