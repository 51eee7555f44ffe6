import { computed, effect, signal, untracked } from "@preact/signals";
import { render } from "preact";
import { followAddress } from "./address";
import { link, present, start } from "./app";
import { App } from "./components/App";
import { listenToKeys } from "./keyboard";
import "./styles/base.css";
import "./styles/page.css";
import "./styles/banners.css";
import "./styles/dialogs.css";
import "./styles/panels.css";
import "./styles/tables.css";
import "./styles/log.css";
import "./styles/alarms.css";
import "./styles/ranks.css";
import "./styles/narrow.css";
import "./styles/print.css";

const host = document.getElementById("app");
if (host === null) throw new Error("the page has no #app");
start();
listenToKeys();
followAddress();

// Drawn once there is something to show: on loopback that comes sooner than an empty page could be laid out.
const DRAWN_AT_LATEST_MS = 150;
const late = signal(false);
window.setTimeout(() => {
  late.value = true;
}, DRAWN_AT_LATEST_MS);
const told = computed(
  () => late.value || present.value.snapshot !== null || ["login", "lost"].includes(link.value.state),
);
effect(() => {
  if (told.value) untracked(() => render(<App />, host));
});

// The tab's title says the state, so that a tab in the background does too.
effect(() => {
  const { snapshot } = present.value;
  const name = "DP coordinator";
  if (link.value.state === "lost") document.title = `Disconnected · ${name}`;
  else if (snapshot === null) document.title = name;
  else document.title = `${snapshot.state} · wave ${snapshot.current_wave} · ${name}`;
});
