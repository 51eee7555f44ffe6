import { defineConfig } from "vitest/config";

declare const process: { env: Record<string, string | undefined> };

/** The coordinator that `npm run dev` shows. */
const backend = process.env.DP_COORDINATOR_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../backend/dp_coordinator/web/static",
    emptyOutDir: true,
    target: "es2022",
    // The coordinator's CSP allows 'self' only: nothing may be inlined as a data: URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/api": {
        target: backend,
        changeOrigin: true,
        ws: true,
        // The coordinator checks Origin on the WebSocket and on every mutating route.
        headers: { origin: backend },
      },
    },
  },
  test: {
    include: ["tests/**/*.test.ts"],
    environment: "node",
    testTimeout: 60_000, // some fill an hour's past, on processors that may have other work
    coverage: {
      // What draws is looked at in Chromium, by tests/browser.
      exclude: ["src/chart.ts", "src/heat.ts", "src/hosted.ts", "src/mapcanvas.ts", "tests/**"],
      reportsDirectory: "../build/coverage/page",
      reporter: ["text", "html"],
      thresholds: { lines: 97, branches: 86 },
    },
  },
});
