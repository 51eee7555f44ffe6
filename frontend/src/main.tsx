import { computed, effect, signal, untracked } from "@preact/signals";
import { render } from "preact";
import { followAddress } from "./address";
import { link, present, start } from "./app";
import { App } from "./components/App";
import { followOthers } from "./deployments";
import { listenToKeys } from "./keyboard";
import { notify } from "./notifications";
import { tellTheTab } from "./tab";
import "./styles/base.css";
import "./styles/page.css";
import "./styles/banners.css";
import "./styles/dialogs.css";
import "./styles/panels.css";
import "./styles/tables.css";
import "./styles/waves.css";
import "./styles/log.css";
import "./styles/alarms.css";
import "./styles/deployments.css";
import "./styles/ranks.css";
import "./styles/drawer.css";
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

// The tab says how it stands, so that one in the background does too.
effect(() => tellTheTab(link.value.state, present.value.snapshot));
effect(() => notify(present.value.snapshot));
effect(() => {
  if (link.value.state === "open") untracked(followOthers);
});
