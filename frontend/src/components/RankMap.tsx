// The rank × time map: which, when and why at a glance. Its accessible equivalent is the table at the moment shown.
import { signal, untracked, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import {
  connected,
  fetchedVersion,
  lookAt,
  past,
  present,
  rows,
  timeline,
  timelineVersion,
  wantStates,
  when,
} from "../app";
import { colourBy, selected, windowMin, zoom } from "../choices";
import { localMs } from "../clock";
import { marksOf } from "../events";
import { count, percent, ratio } from "../format";
import { type MapData, type MapHover, RankMap } from "../mapcanvas";
import { fullOf, peaksOf, statusOf, valuesOf } from "../rankmap";
import { COLOUR_NAMES } from "../scale";
import { drawEvery, edges } from "../span";
import { paletteVersion } from "../theme";
import { fullScale, mapFull, named } from "./engines";
import { useDrawing, useInSight } from "./ui";

/** Where the pointer is on the chart or on the map, in Unix seconds. */
export const pointedAt = signal<number | null>(null);

const hover = signal<MapHover | null>(null);

function dataOf([from, to]: [number, number]): MapData {
  const ranks = rows.peek().length;
  const states = timeline.statesBetween(from, to);
  const by = colourBy.value;
  mapFull.value = fullOf(states, by);
  return {
    states,
    ranks,
    by,
    from,
    to,
    holds: timeline.holds(ranks),
    full: fullScale.value,
    bands: timeline.bands(from, to),
    marks: marksOf(present.peek().log),
    named: named.value,
    chosen: selected.value,
    newest: Math.min(to, timeline.newest ?? to),
    moment: past.value?.at ?? null,
  };
}

/** What stands under the pointer; the place is there without it, too. */
function Words() {
  const found = hover.value;
  const by = COLOUR_NAMES[colourBy.value].toLowerCase();
  if (found === null) return <p class="map-words">Every rank by {by}: click to go to a moment</p>;
  const [first, last] = found.ranks;
  const at = when(found.at);
  const who = first === last ? `Rank ${first}` : `Ranks ${first}–${last}`;
  if (found.worst === null) {
    return (
      <p class="map-words">
        <b>{who}</b> at {at}: not seen
      </p>
    );
  }
  const { state, rank } = found.worst;
  const { status, waiting, running, kv } = valuesOf(state, rank, statusOf(state, rank));
  const load = waiting === null && running === null ? null : (waiting ?? 0) + (running ?? 0);
  return (
    <p class="map-words">
      <b>{first === last ? who : `${who}, worst rank ${rank}`}</b> at {at}: {status}, {count(waiting)}{" "}
      waiting, {count(running)} running, {ratio(load, peaksOf(state).mean)} the mean, KV {percent(kv)}
    </p>
  );
}

function useMap() {
  const host = useRef<HTMLDivElement>(null);
  const map = useRef<RankMap | null>(null);
  const drawn = useRef({ at: 0, what: "" });
  const inSight = useInSight(host);

  useEffect(() => {
    if (host.current === null) return;
    map.current = new RankMap(host.current, {
      onHover: (next) => {
        hover.value = next;
        pointedAt.value = next?.at ?? null;
      },
      onPick: (at, rank) => {
        selected.value = rank;
        lookAt(at);
      },
    });
    drawn.current.what = "";
    timelineVersion.value += 1;
    return () => map.current?.destroy();
  }, []);

  useDrawing(() => {
    timelineVersion.value;
    const shown = edges();
    if (!inSight.value || map.current === null || shown === null) return;
    const at = localMs();
    const what = [windowMin, zoom, colourBy, selected, fullScale, fetchedVersion].map((s) => s.value).join();
    const now = `${what} ${past.value?.at} ${[...named.value].join()}`;
    const every = drawEvery(shown, host.current?.clientWidth ?? 600);
    if (now === drawn.current.what && at - drawn.current.at < every) return;
    drawn.current = { at, what: now };
    map.current.draw(dataOf(shown));
  });

  useDrawing(() => {
    paletteVersion.value;
    connected.value;
    requestAnimationFrame(() => map.current?.recolour());
  });

  useDrawing(() => {
    map.current?.point(hover.value === null ? pointedAt.value : null);
  });

  // What the server kept of the time before this page was opened.
  useSignalEffect(() => {
    for (const changed of [fetchedVersion, windowMin, zoom, past]) changed.value;
    const shown = untracked(edges); // which move all the time
    if (shown !== null && inSight.value) untracked(() => wantStates(...shown));
  });

  return host;
}

export function TimeMap() {
  const host = useMap();
  return (
    <>
      <Words />
      <div
        ref={host}
        class="map"
        role="img"
        aria-label="Ranks over time, one row each; the table has the numbers of what is looked at"
      />
    </>
  );
}
