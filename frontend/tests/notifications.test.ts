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

class Shown {
  static permission = "default";
  static answer = "granted";
  static said: { title: string; body: string }[] = [];
  static requestPermission = async () => Shown.answer;
  onclick: (() => void) | null = null;
  closed = false;
  constructor(title: string, options: { body: string }) {
    Shown.said.push({ title, body: options.body });
    latest = this;
  }
  close() {
    this.closed = true;
  }
}
let latest: Shown | null = null;
const kept = new Map<string, string>();
const focus = vi.fn();
const state = (alarms: Alarm[]) => ({ name: "prod", alarms }) as never;

async function fresh(permission: string): Promise<typeof told> {
  vi.resetModules();
  Shown.permission = permission;
  vi.stubGlobal("Notification", Shown);
  vi.stubGlobal("window", { Notification: Shown, focus });
  vi.stubGlobal("document", { hasFocus: () => false });
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
  return import("../src/notifications");
}

describe("asking for them", () => {
  it("is remembered, and so is that they are no longer wanted", async () => {
    let page = await fresh("default");
    expect(page.wish.value).toBe("off");
    await page.toggleWish();
    expect(page.wish.value).toBe("on");
    page = await fresh("granted");
    expect(page.wish.value).toBe("on");
    await page.toggleWish();
    expect((await fresh("granted")).wish.value).toBe("off");
    Shown.answer = "denied";
    await page.toggleWish();
    expect(page.wish.value).toBe("denied");
    expect((await fresh("denied")).wish.value).toBe("denied");
  });

  it("shows what is new while nobody looks, and a click comes to the page", async () => {
    kept.set("dp-coordinator-notify", "on");
    const page = await fresh("granted");
    page.notify(null);
    page.notify(state([]));
    page.notify(state([alarm("engine_gone", "Engine gone")]));
    expect(Shown.said).toEqual([{ title: "prod: critical", body: "Engine gone" }]);
    const shown = latest as Shown | null;
    shown?.onclick?.();
    expect(focus).toHaveBeenCalled();
    expect(shown?.closed).toBe(true);
    vi.stubGlobal("document", { hasFocus: () => true });
    page.notify(state([]));
    expect(Shown.said.length).toBe(1);
  });

  it("is over where the browser lets only service workers show any", async () => {
    const page = await fresh("granted");
    page.notify(state([]));
    vi.stubGlobal("Notification", () => {
      throw new TypeError("Illegal constructor");
    });
    page.notify(state([alarm("engine_gone")]));
    expect(page.wish.value).toBe("impossible");
  });
});
