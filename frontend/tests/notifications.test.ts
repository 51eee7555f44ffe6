import { beforeAll, describe, expect, it, vi } from "vitest";
import type { Alarm } from "../src/types.gen";

vi.stubGlobal("window", {});
let told: typeof import("../src/notifications");
beforeAll(async () => {
  told = await import("../src/notifications");
});

const alarm = (kind: Alarm["kind"], title: string = kind) => ({ kind, title, severity: "critical" }) as Alarm;

describe("notifications", () => {
  it("tell what is new and what is over, and nothing of what stood at first", () => {
    const watch = new told.Watch();
    expect(watch.look([alarm("engine_gone")])).toEqual({ raised: [], cleared: [] });
    expect(watch.look([alarm("engine_gone", "another title")])).toEqual({ raised: [], cleared: [] });
    expect(watch.look([alarm("engine_gone"), alarm("rank_silent")]).raised).toEqual([alarm("rank_silent")]);
    expect(watch.look([alarm("rank_silent")]).cleared).toEqual([alarm("engine_gone")]);
    expect(watch.look([alarm("rank_silent"), alarm("engine_gone")]).raised).toEqual([alarm("engine_gone")]);
  });

  it("name the deployment, and are one when there are many", () => {
    expect(
      told.toldOf("prod", [alarm("engine_gone", "Engine gone")], [alarm("rank_silent", "Silent")]),
    ).toEqual([
      { title: "prod: critical", body: "Engine gone", tag: "prod-engine_gone" },
      { title: "prod: cleared", body: "Silent", tag: "prod-rank_silent" },
    ]);
    const many = (["engine_gone", "rank_silent", "bad_frames", "same_index"] as const).map((kind) =>
      alarm(kind),
    );
    expect(told.toldOf("", many, [])).toMatchObject([{ title: "DP coordinator: 4 alarms" }]);
  });

  it("are impossible where the browser has none", () => {
    expect(told.wish.value).toBe("impossible");
  });
});
