// The frame of the dashboard: where one is, who one is, and the view of the address.

import { useEffect, useRef } from "react";
import { ListPage } from "./list/ListPage";
import { Notice } from "./parts/Notice";
import { OverviewPage } from "./overview/OverviewPage";
import { Link, place, useAddress } from "./router";
import { seesEveryone, useSession } from "./session/Session";
import { TaskPage } from "./task/TaskPage";

export function App() {
  const { viewer, isSignedIn, signOut } = useSession();
  const { pathname } = useAddress();
  const here = place(pathname);
  const { view } = here;
  const isFirst = useRef(true);

  // What a browser does by itself where pages are loaded: a new title, and the reading begins with the new view.
  useEffect(() => {
    const name = here.view === "task" ? here.taskId : here.view === "overview" ? "Overview" : "Tasks";
    document.title = `${name} · Taskwire`;
    if (!isFirst.current) document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [pathname]);

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
          <a href="/graphiql">GraphiQL</a>
        </nav>
        <span className="spacer" />
        <span className="viewer">
          {viewer.userId} {seesEveryone(viewer) && <span className="hint">{viewer.role.toLowerCase()}</span>}
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
        <main tabIndex={-1} className="alone">
          <h1 className="sr-only">Not found</h1>
          <Notice title="There is nothing at this address" action={<Link href="/">To the tasks</Link>} />
        </main>
      );
  }
}
