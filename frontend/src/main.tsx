import { effect } from "@preact/signals";
import { render } from "preact";
import { followAddress } from "./address";
import { link, present, start } from "./app";
import { App } from "./components/App";
import { phaseWord } from "./format";
import { listenToKeys } from "./keyboard";
import "./styles/base.css";
import "./styles/page.css";
import "./styles/panels.css";

const host = document.getElementById("app");
if (host === null) throw new Error("the page has no #app");
start(); // before the page is drawn: the coordinator answers meanwhile
render(<App />, host);
listenToKeys();
followAddress();

// The tab's title says the state, so that a tab in the background does too.
effect(() => {
  const { snapshot } = present.value;
  const name = "DP coordinator";
  if (link.value.state === "lost") document.title = `Disconnected · ${name}`;
  else if (snapshot === null) document.title = name;
  else document.title = `${phaseWord(snapshot)} · wave ${snapshot.current_wave} · ${name}`;
});
