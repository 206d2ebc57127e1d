// How things stand in all: failures first, then how many finished and how long they took; for admins the server, too.

import { useState } from "react";
import { seesEveryone, useSession } from "../session/Session";
import { Failures } from "./Failures";
import { ServerPanel } from "./ServerPanel";
import { Statistics } from "./Statistics";
import { type Window, WINDOWS } from "./windows";

export function OverviewPage() {
  const { viewer } = useSession();
  const [window, setWindow] = useState<Window>(WINDOWS[1]);
  const userId = seesEveryone(viewer) ? null : (viewer.userId ?? null);
  return (
    <main tabIndex={-1} className="overview-page">
      <div className="overview-head">
        <h1>Overview</h1>
        <span className="spacer" />
        <label className="field">
          <span className="sr-only">Window</span>
          <select
            value={window.label}
            onChange={(event) => setWindow(WINDOWS.find(({ label }) => label === event.target.value) ?? WINDOWS[1])}
          >
            {WINDOWS.map(({ label }) => (
              <option key={label}>{label}</option>
            ))}
          </select>
        </label>
      </div>
      <Failures userId={userId} />
      <Statistics userId={userId} window={window} />
      {viewer.role === "ADMIN" && <ServerPanel />}
    </main>
  );
}
