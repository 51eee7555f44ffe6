import { describe, expect, it } from "vitest";
import { others, PeersFetcher, placeOf } from "../src/peers";
import type { Peer, PeerPage } from "../src/types.gen";

function peer(over: Partial<Peer> = {}): Peer {
  const where = {
    name: "10.0.0.7:51234",
    address: "10.0.0.7:51234",
    host: "10.0.0.7",
    pid: null,
    uid: null,
    title: "",
  };
  const when = { connected_at: 1000, ended_at: null, why: null };
  return { ...where, ...when, socket: "back_output", kind: "engine", engine: 0, ...over };
}

const page = (version: number, over: Partial<PeerPage> = {}): PeerPage => ({
  version,
  peers: [peer()],
  places: [0],
  ...over,
});

function rig(...answers: (() => unknown)[]) {
  const taken: number[] = [];
  let asked = 0;
  const fetcher = new PeersFetcher(
    async () => answers[asked++]?.(),
    ({ version }) => taken.push(version),
  );
  const settled = () => new Promise((resolve) => setTimeout(resolve));
  return { fetcher, taken, asked: () => asked, settled };
}

describe("who is connected", () => {
  it("is asked for when it changed, and only then", async () => {
    const { fetcher, taken, asked, settled } = rig(
      () => page(7),
      () => page(9),
    );
    fetcher.want(7, 0);
    fetcher.want(7, 5000); // while the first is under way
    await settled();
    fetcher.want(7, 10_000);
    expect([asked(), taken]).toEqual([1, [7]]);
    fetcher.want(9, 20_000);
    await settled();
    expect([asked(), taken]).toEqual([2, [7, 9]]);
  });

  it("is asked for once a second at most, and again when the answer was older", async () => {
    const { fetcher, taken, asked, settled } = rig(
      () => page(1),
      () => page(3),
    );
    fetcher.want(2, 0);
    await settled();
    for (const ms of [100, 500, 999]) fetcher.want(3, ms);
    expect(asked()).toBe(1);
    fetcher.want(3, 1000);
    await settled();
    expect(taken).toEqual([1, 3]);
  });
});

describe("who is connected, when something is wrong,", () => {
  it("stays as it was when no answer, or none of its kind, came; and is asked for again", async () => {
    const { fetcher, taken, asked, settled } = rig(
      () => {
        throw new Error("no such route");
      },
      () => null,
      () => page(1),
    );
    for (const ms of [0, 1000, 2000]) {
      fetcher.want(1, ms);
      await settled();
    }
    expect([asked(), taken]).toEqual([3, [1]]);
  });

  it("is asked for anew of another process, whose answer counts and not the one before it", async () => {
    const { fetcher, taken, settled } = rig(
      () => page(4),
      () => page(4),
    );
    fetcher.want(4, 0);
    fetcher.forget();
    await settled();
    expect(taken).toEqual([]);
    fetcher.want(4, 1000);
    await settled();
    expect(taken).toEqual([4]);
  });
});

describe("where a rank is", () => {
  const gone = peer({ engine: 1, ended_at: 1050, why: "connection closed" });
  const known = page(1, { peers: [peer({ kind: "front-end", engine: null }), gone], places: [null, 1] });

  it("is the connection that the coordinator names, or nothing", () => {
    expect(placeOf(null, 0, null)).toBeNull();
    expect(placeOf(known, 0, null)).toBeNull();
    expect(placeOf(known, 1, null)).toBe(gone);
    expect(placeOf(known, 2, null)).toBeNull();
  });

  it("was so only after it was made, and had not ended before it did", () => {
    expect(placeOf(known, 1, 999)).toBeNull();
    expect(placeOf(known, 1, 1049)).toMatchObject({ ended_at: null, why: null, name: gone.name });
    expect(placeOf(known, 1, 1050)).toBe(gone);
  });
});

it("front-ends and taps are told apart from engines", () => {
  const kinds = ["engine", "front-end", "tap", "unknown"] as const;
  const all = page(1, { peers: kinds.map((kind) => peer({ kind })) });
  expect(others(all).map(({ kind }) => kind)).toEqual(["front-end", "tap"]);
});
