// Memory over hours. `RANKS=1024 npx vitest run tests/heap.test.ts` says how much it is.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { Timeline } from "../src/timeline";
import { snapshot } from "./build";

const RANKS = Number(process.env.RANKS ?? 64);
const HOUR = 36_000;

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");

function memoryMb(): number {
  gc();
  gc(); // buffers that the first one found are given back with the second
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 1e6;
}

it("is flat once the hour that is kept is full", { timeout: 240_000 }, () => {
  const timeline = new Timeline();
  const after: number[] = [];
  for (let i = 0; i <= 4 * HOUR; i++) {
    const message = snapshot({ at: 1000 + i / 10, state_text: `Wave 3 is running, step ${i}` }, RANKS);
    const { waiting, running } = message.engines;
    for (let rank = 0; rank < RANKS; rank++) {
      running[rank] = (i * 7 + rank * 13) % 60;
      waiting[rank] = (i + rank) % 7;
    }
    timeline.push(message);
    if (i % HOUR === 0) after.push(memoryMb());
  }
  console.log(`${RANKS} ranks, MB at first and after each hour: ${after.map((mb) => mb.toFixed(1))}`);
  expect(after[4]).toBeLessThan((after[2] ?? 0) + 1);
});
