// Where ranks, front-ends and taps are. What it is called and how it ended the coordinator says.
import { peers, place, when } from "../app";
import { count, NEVER } from "../format";
import { others } from "../peers";
import type { Peer } from "../types.gen";

/** Of so many others each is listed. */
const LISTED = 50;

const ending = ({ why, ended_at }: Peer): string | null =>
  why === null ? null : `${why}, ${when(ended_at)}`;

/** Which source tells of it, by kind and target; null where none does. */
export const told = (rank: number): string | null => peers.value?.told?.[rank] ?? null;

/** Where a rank is and, where it is gone, how that came; nothing when it is not known. */
export function placeText(rank: number): string | undefined {
  const peer = place(rank);
  if (peer === null) return told(rank) ?? undefined;
  return [peer.name, ending(peer)].filter((part) => part !== null).join(": ");
}

export function Place({ rank }: { rank: number }) {
  const peer = place(rank);
  if (peer === null) return <span title={told(rank) ?? undefined}>{told(rank) ?? NEVER}</span>;
  const ended = ending(peer);
  return (
    <span class="place" title={placeText(rank)}>
      <span>{peer.name}</span>
      {ended !== null && <span>{ended}</span>}
    </span>
  );
}

/** Front-ends and taps. */
export function OtherPeers() {
  if (peers.value === null) return null;
  const all = others(peers.value);
  return (
    <>
      <h2>Front-ends and taps</h2>
      <ul class="peers" data-testid="peers">
        {all.slice(0, LISTED).map((peer) => (
          <li key={`${peer.socket} ${peer.name} ${peer.connected_at}`}>
            <span>{peer.kind}</span>
            <span>{peer.name}</span>
            <span class="muted">
              {peer.socket}, since {when(peer.connected_at)}
            </span>
          </li>
        ))}
        {all.length === 0 && <li>None is connected.</li>}
        {all.length > LISTED && <li>and {count(all.length - LISTED)} more</li>}
      </ul>
    </>
  );
}
