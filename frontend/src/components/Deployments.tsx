// A row for each other coordinator: what it said of itself last, and how long ago.
import { realNow } from "../app";
import { others } from "../deployments";
import { count, duration } from "../format";
import { elapsedSince } from "../rows";
import type { OtherDeployment, Summary } from "../types.gen";
import { Icon, Panel } from "./ui";

const load = ({ waiting, running }: Summary) =>
  waiting === null && running === null
    ? "nothing reported"
    : `${count(waiting)} waiting, ${count(running)} running`;

function Alarms({ alarms }: Pick<Summary, "alarms">) {
  const [first] = alarms;
  if (first === undefined) return <>none</>;
  return (
    <>
      <Icon name={first.severity === "critical" ? "alarm" : "warn"} /> {first.title}
      {alarms.length > 1 && <span class="muted"> and {alarms.length - 1} more</span>}
    </>
  );
}

function Row({ other, elapsed }: { other: OtherDeployment; elapsed: number }) {
  const { url, summary, gone, heard_age_s } = other;
  const age = heard_age_s === null ? null : heard_age_s + elapsed;
  const heard = gone === null && summary !== null;
  return (
    <tr class={heard ? "" : "deployment-gone"} data-deployment={url}>
      <th scope="row">
        <a href={url} rel="noreferrer">
          {summary?.name || url.replace(/^https?:\/\//, "")}
        </a>
      </th>
      <td>{summary === null ? "never heard" : heard ? summary.state : `was ${summary.state}`}</td>
      <td class={heard && summary.alarms.length > 0 ? `tone-${summary.state_tone}` : ""}>
        {summary === null ? "—" : heard ? <Alarms alarms={summary.alarms} /> : "not known"}
      </td>
      <td>{heard ? load(summary) : "not known"}</td>
      <td>
        {age === null ? "never" : `${duration(age)} ago`}
        {gone !== null && <span class="muted"> {gone}</span>}
      </td>
    </tr>
  );
}

export function Deployments() {
  const heard = others.value;
  if (heard === null) return null;
  const { deployments, problem } = heard.page;
  if (deployments.length === 0 && problem === null) return null;
  const elapsed = elapsedSince(heard.at, realNow.value);
  return (
    <Panel id="deployments" title="Other deployments">
      {problem !== null && <p class="muted">Their file cannot be used as it is now: {problem}</p>}
      <div class="table-scroll">
        <table class="deployments">
          <thead>
            <tr>
              {["Name", "State", "Alarms", "Load", "Heard"].map((head) => (
                <th key={head} scope="col" class="text">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {deployments.map((other) => (
              <Row key={other.url} other={other} elapsed={elapsed} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
