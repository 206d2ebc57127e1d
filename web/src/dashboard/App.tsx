// The frame of the dashboard: where one is, who one is, and the view of the address.

import { ListPage } from "./list/ListPage";
import { Notice } from "./parts/Notice";
import { OverviewPage } from "./overview/OverviewPage";
import { Link, place, useAddress } from "./router";
import { useSession } from "./session/Session";
import { TaskPage } from "./task/TaskPage";

export function App() {
  const { viewer, isSignedIn, signOut } = useSession();
  const { pathname } = useAddress();
  const { view } = place(pathname);
  return (
    <>
      <header className="top">
        <Link href="/" className="brand">
          Taskwire
        </Link>
        <nav aria-label="Views">
          <Link href="/" aria-current={view === "list" ? "page" : undefined}>
            Tasks
          </Link>
          <Link href="/overview" aria-current={view === "overview" ? "page" : undefined}>
            Overview
          </Link>
        </nav>
        <span className="spacer" />
        <span className="viewer">
          {viewer.userId} {viewer.role !== "USER" && <span className="hint">{viewer.role.toLowerCase()}</span>}
        </span>
        {isSignedIn && (
          <button type="button" className="quiet" onClick={() => signOut(null)}>
            Sign out
          </button>
        )}
      </header>
      <View pathname={pathname} />
    </>
  );
}

function View({ pathname }: { pathname: string }) {
  const here = place(pathname);
  switch (here.view) {
    case "list":
      return <ListPage />;
    case "overview":
      return <OverviewPage />;
    case "task":
      return <TaskPage key={pathname} userId={here.userId} taskId={here.taskId} />;
    case "nowhere":
      return (
        <main className="alone">
          <h1 className="sr-only">Not found</h1>
          <Notice title="There is nothing at this address" action={<Link href="/">To the tasks</Link>} />
        </main>
      );
  }
}
