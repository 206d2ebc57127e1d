// The list of tasks: filter, live rows, pause, and cancelling all that the filter finds.

import { useMemo, useState } from "react";
import { LiveBanner } from "../parts/LiveBanner";
import { Notice } from "../parts/Notice";
import { counted } from "../parts/format";
import { Problem } from "../parts/Problem";
import { go, useAddress } from "../router";
import { seesEveryone, useSession } from "../session/Session";
import { BulkCancel } from "./BulkCancel";
import { Count } from "./Count";
import { FilterBar } from "./FilterBar";
import { isEmpty, NO_FILTER, read, toInput, write } from "./filter";
import { TaskTable } from "./TaskTable";
import { useTaskList } from "./useTaskList";

export function ListPage() {
  const { viewer } = useSession();
  const { search } = useAddress();
  const filter = useMemo(() => read(new URLSearchParams(search)), [search]);
  const input = useMemo(() => toInput(filter, Date.now()), [filter]);
  const isOfEveryone = seesEveryone(viewer) && filter.userId === "";
  const userId = isOfEveryone ? null : filter.userId || (viewer.userId ?? null);
  const { list, view, state, problem, readMore, retry } = useTaskList(userId, input);
  const [isCancelling, setCancelling] = useState(false);
  const isFiltered = !isEmpty(filter) || filter.userId !== "";

  return (
    <main tabIndex={-1} className="list-page">
      <h1 className="sr-only">Tasks</h1>
      <FilterBar filter={filter} onChange={(next) => go(write(next), "replace")} />
      <div className="toolbar">
        <Count userId={userId} filter={input} isLive={state.kind === "live"} />
        {view.isPaused && <span className="hint">{counted(view.held, "task")} changed meanwhile</span>}
        {view.hasMore && view.rows.length === 0 && <span className="hint">Nothing found yet, looking further …</span>}
        <span className="spacer" />
        <button
          type="button"
          className="quiet"
          aria-pressed={view.isPaused}
          onClick={() => (view.isPaused ? list.goOn() : list.pause())}
        >
          {view.isPaused ? "Go on" : "Pause"}
        </button>
        <button type="button" className="quiet" onClick={() => setCancelling(true)}>
          Cancel these …
        </button>
      </div>
      <LiveBanner state={state} onRetry={retry} />
      <Problem text={problem} />
      {view.pages > 0 && view.rows.length === 0 && !view.hasMore ? (
        <Empty isFiltered={isFiltered} />
      ) : (
        <TaskTable list={list} view={view} showsUser={isOfEveryone} readMore={readMore} />
      )}
      {isCancelling && (
        <BulkCancel filter={input} userId={userId} isFiltered={isFiltered} onClose={() => setCancelling(false)} />
      )}
    </main>
  );
}

function Empty({ isFiltered }: { isFiltered: boolean }) {
  if (!isFiltered) {
    return (
      <Notice title="No tasks yet">
        They appear here with their first report. To see some move, run <code>taskwire demo</code> beside the server.
      </Notice>
    );
  }
  return (
    <Notice
      title="No task is in this filter"
      action={
        <button type="button" className="primary" onClick={() => go(write(NO_FILTER))}>
          Show all tasks
        </button>
      }
    >
      Tasks that come into it appear here by themselves.
    </Notice>
  );
}
