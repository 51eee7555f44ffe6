// What ranks are coloured by, and what the colours mean.
import { colourBy } from "../choices";
import { count } from "../format";
import { COLOUR_BY, COLOUR_NAMES } from "../scale";
import { Segments } from "./ui";

export function ColourBy() {
  return (
    <Segments
      label="Colour by"
      choices={COLOUR_BY.map((by) => [by, COLOUR_NAMES[by]] as const)}
      chosen={colourBy.value}
      choose={(by) => {
        colourBy.value = by;
      }}
    />
  );
}

const STATES = ["idle", "working", "quiet", "suspect"] as const;

function Ramp({ name, from, to }: { name: string; from: string; to: string }) {
  return (
    <span class="legend-item">
      {from} <span class={`ramp ramp-${name}`} /> {to}
    </span>
  );
}

/** The legend of the colours; `full` is the count at the end of the scale. */
export function Scale({ full }: { full: number }) {
  const by = colourBy.value;
  return (
    <p class="legend scale">
      {by === "state" &&
        STATES.map((state) => (
          <span key={state} class="legend-item">
            <span class={`key key-${state}`} /> {state}
          </span>
        ))}
      {by === "kv" && <Ramp name="kv" from="KV 0" to="100 %" />}
      {by === "ratio" && <Ramp name="ratio" from="¼ of the mean" to="4× and more" />}
      {by === "requests" && (
        <>
          <Ramp name="requests" from="0" to={`${count(full)}+`} />
          <span class="legend-item">
            <span class="key key-waits" /> waiting
          </span>
        </>
      )}
      {by === "waiting" && <Ramp name="waiting" from="0" to={`${count(full)}+ waiting`} />}
      <span class="legend-item">
        <span class="key key-named" /> alarm
      </span>
      <span class="legend-item">
        <span class="key key-gone">✕</span> gone
      </span>
      <span class="legend-item">
        <span class="key key-never" /> never
      </span>
    </p>
  );
}
