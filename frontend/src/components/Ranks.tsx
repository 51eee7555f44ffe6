// All ranks: up to eight in a table; more in a grid that has every one in sight, with a table beside it.
import { rows, view } from "../app";
import { filterText, selected } from "../choices";
import { count } from "../format";
import type { EngineRow } from "../rows";
import { EngineTable } from "./EngineTable";
import { fullScale, GRID_FROM, shown } from "./engines";
import { Grid, RankLine } from "./Grid";
import { ColourBy, Scale } from "./Scale";
import { Button, Panel, set } from "./ui";

function Filter() {
  return (
    <input
      id="engine-filter"
      class="input"
      type="search"
      placeholder="Filter: 8-15, suspect"
      aria-label="Filter engines by rank or status"
      aria-keyshortcuts="/"
      value={filterText.value}
      onInput={(event) => {
        filterText.value = event.currentTarget.value;
      }}
      onKeyDown={(event) => {
        const first = shown.value[0];
        if (event.key === "Enter" && first !== undefined) selected.value = first.index;
      }}
    />
  );
}

const COUNTED = ["gone", "suspect", "quiet", "never"] as const;

/** How many there are, and buttons that show those of one status alone. */
function Counts() {
  const all = rows.value;
  const tally = (status: EngineRow["status"]) => all.filter((row) => row.status === status).length;
  return (
    <>
      {count(all.length)} {all.length === 1 ? "rank" : "ranks"}
      {shown.value.length !== all.length && ` · ${count(shown.value.length)} shown`}
      {COUNTED.map((status) => {
        const many = tally(status);
        if (many === 0) return null;
        const on = filterText.value === status;
        return (
          <button
            key={status}
            type="button"
            class={`count count-${status}`}
            aria-pressed={on}
            title={on ? "Show all ranks" : `Show these alone`}
            onClick={set(filterText, on ? "" : status)}
          >
            {count(many)} {status === "never" ? "never reported" : status}
          </button>
        );
      })}
    </>
  );
}

function NoMatch() {
  if (shown.value.length > 0 || rows.value.length === 0) return null;
  return (
    <p class="empty">
      No rank matches “{filterText}”.{" "}
      <Button look="small" onClick={set(filterText, "")}>
        Clear
      </Button>
    </p>
  );
}

export function RankPanel() {
  const { snapshot } = view.value;
  if (snapshot === null) return null;
  const many = rows.value.length > GRID_FROM;
  const tools = (
    <>
      <ColourBy />
      <Filter />
    </>
  );
  return (
    <Panel id="engines" title="Ranks" note={<Counts />} tools={tools}>
      <div class={many ? "ranks ranks-many" : "ranks"}>
        {many && <Grid />}
        <div class="ranks-table">
          <EngineTable />
          <NoMatch />
        </div>
      </div>
      <div class="ranks-foot">
        <RankLine />
        <Scale full={fullScale.value} />
      </div>
    </Panel>
  );
}
