import { link, past, view, when } from "../app";
import { count, restartText } from "../format";
import { Nonsense, Strip } from "./Banners";
import { Deployments } from "./Deployments";
import { LogPanel } from "./EventLog";
import { Announcer, Hero, TopBar } from "./Header";
import { Help } from "./Help";
import { LoadPanel } from "./LoadChart";
import { Login } from "./Login";
import { OneRank } from "./OneRank";
import { RankPanel } from "./Ranks";
import { DownloadRecording, RecordingBar } from "./Recording";
import { StartWaveDialog } from "./StartWave";
import { Guard } from "./ui";
import { WavePanel } from "./WaveList";

function Footer() {
  const { hello, ignored, snapshot } = view.value;
  return (
    <footer class="footer">
      {hello !== null && <span>dp-coordinator {hello.version}</span>}
      {snapshot?.recorded && past.value === null && <DownloadRecording />}
      {hello !== null && snapshot !== null && snapshot.restarts > 0 && (
        <span>{restartText(snapshot.restarts, when(hello.started_at))}</span>
      )}
      {ignored > 0 && (
        <span data-testid="ignored">
          {count(ignored)} {ignored === 1 ? "message" : "messages"} not understood
        </span>
      )}
    </footer>
  );
}

const PARTS = [
  ["state", "State"],
  ["engines", "Ranks"],
  ["load", "Load over time"],
  ["waves", "Waves"],
  ["log", "Events"],
] as const;

/** The first stops of the tab key lead past what is long. The hash is the viewer's choices: it is left alone. */
function SkipLinks() {
  return (
    <nav class="skip" aria-label="Skip to">
      {PARTS.map(([id, name]) => (
        <a
          key={id}
          href={`#${id}`}
          onClick={(event) => {
            event.preventDefault();
            const part = document.getElementById(id);
            part?.focus();
            part?.scrollIntoView({ block: "start" });
          }}
        >
          {name}
        </a>
      ))}
    </nav>
  );
}

function Dashboard() {
  const lost = link.value.state === "lost";
  return (
    <div class={lost ? "page page-lost" : "page"}>
      <SkipLinks />
      <TopBar />
      <main>
        <RecordingBar />
        <Guard name="The header">
          <Hero />
          <Announcer />
        </Guard>
        <Guard name="The strip">
          <Strip />
        </Guard>
        <div class="panels">
          <div class="column column-main">
            <RankPanel />
            <LoadPanel />
          </div>
          <div class="column column-side">
            <WavePanel />
            <LogPanel />
          </div>
        </div>
        <Guard name="Other deployments">
          <Deployments />
        </Guard>
      </main>
      <Footer />
      <Guard name="The rank">
        <OneRank />
      </Guard>
      <Nonsense />
      <StartWaveDialog />
      <Help />
    </div>
  );
}

export function App() {
  if (link.value.state === "login") return <Login />;
  return (
    <Guard name="The page">
      <Dashboard />
    </Guard>
  );
}
