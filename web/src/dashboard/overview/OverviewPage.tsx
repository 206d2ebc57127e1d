// How things stand in all: failures first.

import { useSession } from "../session/Session";
import { Failures } from "./Failures";

export function OverviewPage() {
  const { viewer } = useSession();
  const userId = viewer.role === "USER" ? (viewer.userId ?? null) : null;
  return (
    <main className="overview-page">
      <h1>Overview</h1>
      <Failures userId={userId} />
    </main>
  );
}
