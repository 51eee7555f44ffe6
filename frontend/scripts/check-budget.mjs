// Fails when the page's JavaScript, gzipped, is over budget. CSS is printed for information.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET = 55 * 1024;
const root = fileURLToPath(new URL("../../backend/dp_coordinator/web/static", import.meta.url));

const sizes = { js: 0, css: 0 };
for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
  const kind = name.split(".").pop();
  if (kind in sizes) sizes[kind] += gzipSync(readFileSync(join(root, name)), { level: 9 }).length;
}

const kb = (bytes) => `${(bytes / 1024).toFixed(1)} kB`;
console.log(`JavaScript ${kb(sizes.js)} gzipped of ${kb(BUDGET)}; CSS ${kb(sizes.css)}`);
if (sizes.js === 0) {
  console.error("No JavaScript was built.");
  process.exit(1);
}
if (sizes.js > BUDGET) {
  console.error(`Over budget by ${kb(sizes.js - BUDGET)}.`);
  process.exit(1);
}
