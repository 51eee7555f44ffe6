import { describe, expect, it } from "vitest";
import { type Choices, DEFAULTS, readHash, writeHash } from "../src/url";

describe("the address", () => {
  it("is empty when nothing was chosen", () => {
    expect(writeHash(DEFAULTS)).toBe("");
    expect(readHash("")).toEqual({ choices: DEFAULTS, nonsense: [] });
    expect(readHash("#")).toEqual({ choices: DEFAULTS, nonsense: [] });
  });

  it("says every choice, and is read back as it was written", () => {
    const choices: Choices = {
      windowMin: 15,
      zoom: [1700000000.5, 1700000060],
      filter: "8-15, quiet & #",
      log: "manual starts",
      sort: { key: "load", descending: true },
      colour: "ratio",
      lines: "kv",
      beside: 7,
      rank: 1023,
      at: 1700000031.2,
    };
    expect(readHash(writeHash(choices))).toEqual({ choices, nonsense: [] });
  });

  it.each([
    "window=banana",
    "window=7",
    "zoom=5",
    "zoom=9-5",
    "zoom=1-2-3",
    "sort=colour",
    "sort=--load",
    "colour=blue",
    "lines=all",
    "rank=-1",
    "log=<script>",
    "rank=1e3",
    "beside=me",
    "at=yesterday",
    "at=0",
    "nothing=like it",
    `filter=${"x".repeat(201)}`,
  ])("leaves out %s and tells", (part) => {
    const { choices, nonsense } = readHash(`#${part.replace(" ", "+")}&rank=4`);
    expect(choices).toEqual({ ...DEFAULTS, rank: 4 });
    expect(nonsense).toEqual([part.slice(0, 60)]);
  });
});
