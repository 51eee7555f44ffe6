import { link, view } from "../app";
import { count, restartText } from "../format";
import { Alarms } from "./Alarms";
import { CoordinationOff, LostBanner, NonsenseBanner, Notices, OutdatedBanner, Waiting } from "./Banners";
import { EnginePanel } from "./EngineTable";
import { LogPanel } from "./EventLog";
import { Announcer, Hero, PastBar, TopBar } from "./Header";
import { Help } from "./Help";
import { LoadPanel } from "./LoadChart";
import { Login } from "./Login";
import { DownloadRecording, RecordingBar } from "./Recording";
import { StartWaveDialog } from "./StartWave";
import { Guard } from "./ui";
import { WavePanel } from "./WaveList";

function Footer() {
  const { hello, ignored, snapshot } = view.value;
  return (
    <footer class="footer">
      {hello !== null && <span>dp-coordinator {hello.version}</span>}
      {snapshot !== null && !snapshot.recording && !snapshot.watching && <DownloadRecording />}
      {hello !== null && snapshot !== null && snapshot.restarts > 0 && (
        <span>{restartText(snapshot.restarts, hello.started_at, snapshot.at)}</span>
      )}
      {snapshot !== null &&
        !snapshot.watching &&
        (["front_publish", "back_output", "back_publish"] as const).map((name) => (
          <span key={name}>
            {name} <code>{snapshot.endpoints[name]}</code>
          </span>
        ))}
      {ignored > 0 && (
        <span data-testid="ignored">
          {count(ignored)} {ignored === 1 ? "message" : "messages"} not understood
        </span>
      )}
    </footer>
  );
}

function Dashboard() {
  const lost = link.value.state === "lost";
  return (
    <div class={lost ? "page page-lost" : "page"}>
      <TopBar />
      <main>
        <Guard name="The connection's state">
          <LostBanner />
          <OutdatedBanner />
          <NonsenseBanner />
          <RecordingBar />
          <PastBar />
        </Guard>
        <Guard name="The header">
          <Hero />
          <Announcer />
        </Guard>
        <Guard name="Alarms">
          <Alarms />
        </Guard>
        <Guard name="Notices">
          <Notices />
          <CoordinationOff />
          <Waiting />
        </Guard>
        <div class="panels">
          <div class="column column-main">
            <LoadPanel />
            <EnginePanel />
          </div>
          <div class="column column-side">
            <WavePanel />
            <LogPanel />
          </div>
        </div>
      </main>
      <Footer />
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
