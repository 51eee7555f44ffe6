import { describe, expect, it, vi } from "vitest";
import { iconOf, tellTheTab, titleOf } from "../src/tab";
import type { Alarm } from "../src/types.gen";
import { snapshot } from "./build";

export const alarm = (over: Partial<Alarm> = {}): Alarm => ({
  kind: "engine_gone",
  severity: "critical",
  since: 1000,
  age_s: 60,
  title: "Engine gone: rank 3",
  meaning: "",
  remedy: "",
  engines: [3],
  counts: {},
  ...over,
});

describe("the tab", () => {
  it("carries name, state and the number of alarms", () => {
    expect(titleOf("open", snapshot())).toBe("DP coordinator · running · wave 3");
    const named = snapshot({ name: "prod", alarms: [alarm(), alarm({ kind: "rank_silent" })] });
    expect(titleOf("open", named)).toBe("(2) prod · running · wave 3");
    expect(titleOf("open", snapshot({ wave_coordination: false, state: "serving" }))).toBe(
      "DP coordinator · serving",
    );
    expect(titleOf("lost", named)).toBe("Disconnected · prod");
    expect(titleOf("connecting", null)).toBe("DP coordinator");
  });

  it("has an icon that tells without colour, too", () => {
    const alarmed = snapshot({ state_tone: "bad", alarms: [alarm()] });
    const icons = [
      iconOf("open", snapshot()),
      iconOf("open", alarmed),
      iconOf("lost", alarmed),
      iconOf("open", snapshot({ state_tone: "bad", alarms: Array.from({ length: 12 }, () => alarm()) })),
    ];
    const shapes = icons.map((icon) => decodeURIComponent(icon).replace(/fill="#\w+"\/>/, ""));
    expect(new Set(shapes).size).toBe(4);
    expect(shapes[1]).toContain(">1</text>");
    expect(shapes[3]).toContain(">9+</text>");
  });

  it("is touched only where it changes", () => {
    const icon = { href: "" };
    const page = { title: "", querySelector: () => icon };
    vi.stubGlobal("document", page);
    tellTheTab("open", snapshot());
    expect(page.title).toBe("DP coordinator · running · wave 3");
    expect(icon.href).toBe(iconOf("open", snapshot()));
    vi.stubGlobal("document", { ...page, querySelector: () => null });
    tellTheTab("lost", null);
  });
});
