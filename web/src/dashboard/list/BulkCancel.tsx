// Cancels all unfinished tasks that the filter finds: first a dry run that says how many, then for real, as many at a
// time as the server takes. Between two such batches it can be stopped; where the dialog goes away, it is.

import { type FormEvent, useEffect, useRef, useState } from "react";
import { CancelTasksDocument, type CancelTasksMutation, type TaskFilter } from "../../gql/operations";
import { count, counted } from "../parts/format";
import { Dialog } from "../parts/Dialog";
import { Problem } from "../parts/Problem";
import { Reason } from "../parts/Reason";
import { failure } from "../session/failure";
import { useSession } from "../session/Session";

const AT_A_TIME = 10_000;

interface Props {
  userId: string | null;
  filter: TaskFilter;
  /** Without a filter it is all unfinished tasks, which is said. */
  isFiltered: boolean;
  onClose(): void;
}

type Matched = NonNullable<CancelTasksMutation["cancelTasks"]>["matched"];
type Stage = "counting" | "asking" | "cancelling" | "stopping" | "stopped" | "failed" | "done";

export function BulkCancel({ userId, filter, isFiltered, onClose }: Props) {
  const { connection } = useSession();
  const [matched, setMatched] = useState<Matched | null>(null);
  const [cancelled, setCancelled] = useState(0);
  const [reason, setReason] = useState("");
  const [stage, setStage] = useState<Stage>("counting");
  const [problem, setProblem] = useState<string | null>(null);
  const isStopped = useRef(false);
  const status = useRef<HTMLDivElement>(null);

  const run = async (dryRun: boolean) => {
    const input = {
      userId,
      // The server wants a criterion; the unfinished ones are all that it cancels anyway.
      filter: { ...filter, isFinished: false },
      reason: reason.trim() || null,
      limit: AT_A_TIME,
      dryRun,
    };
    const { cancelTasks } = await connection.change(CancelTasksDocument, { input });
    if (!cancelTasks) throw failure(new Error("The server gave no answer."));
    return cancelTasks;
  };

  useEffect(() => {
    run(true).then(
      (found) => {
        setMatched(found.matched);
        setStage("asking");
      },
      (cause: unknown) => setProblem(failure(cause).message),
    );
    // Once, for what the filter was when the dialog was opened.
  }, []);

  // Nobody would see what a closed dialog goes on with.
  useEffect(() => {
    isStopped.current = false;
    return () => {
      isStopped.current = true;
    };
  }, []);
  // The button that was pressed is gone by then, and the focus with it.
  useEffect(() => {
    if (stage === "cancelling" || stage === "stopping") status.current?.focus();
  }, [stage]);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    isStopped.current = false;
    setStage("cancelling");
    setProblem(null);
    try {
      let total = cancelled;
      let hasMore = true;
      while (hasMore && !isStopped.current) {
        const done = await run(false);
        total += done.cancelledCount;
        setCancelled(total);
        hasMore = done.hasMore && done.cancelledCount > 0;
      }
      setStage(hasMore ? "stopped" : "done");
    } catch (cause) {
      setProblem(failure(cause).message);
      setStage("failed");
    }
  };
  const halt = () => {
    isStopped.current = true;
    setStage("stopping");
  };

  const canGoOn = matched !== null && (matched.value > 0 || !matched.isExact);
  const isAsking = canGoOn && (stage === "asking" || stage === "failed");
  const isAtWork = stage === "cancelling" || stage === "stopping";
  const isOver = stage === "stopped" || stage === "done";
  return (
    <Dialog title="Cancel tasks" onClose={onClose}>
      <form onSubmit={submit}>
        <Problem text={problem} />
        <div ref={status} role="status" tabIndex={-1}>
          {stage === "counting" && !problem && <p>Counting …</p>}
          {stage === "asking" && matched && <Found matched={matched} isFiltered={isFiltered} />}
          {stage === "failed" && (
            <p>
              <strong>{counted(cancelled, "task")}</strong> cancelled before that. Of the batch that failed, some may be,
              too.
            </p>
          )}
          {isAtWork && (
            <p>
              {stage === "stopping" ? "Stopping …" : "Cancelling …"} {cancelled > 0 && `${count(cancelled)} so far.`}
            </p>
          )}
          {isOver && (
            <p>
              {stage === "stopped" && "Stopped. "}
              <strong>{counted(cancelled, "task")}</strong> cancelled
              {stage === "stopped" && ", the others are as they were"}.
              {cancelled > 0 && " Their workers hear of it with their next report."}
            </p>
          )}
        </div>
        {isAsking && <Reason label="Reason, for the workers and the history" value={reason} onChange={setReason} />}
        <div className="actions">
          {isAtWork ? (
            <button type="button" className="quiet" disabled={stage === "stopping"} onClick={halt}>
              Stop
            </button>
          ) : (
            <button type="button" className="quiet" onClick={onClose}>
              {isOver || stage === "failed" ? "Close" : "Cancel nothing"}
            </button>
          )}
          {isAsking && (
            <button type="submit" className="danger">
              {stage === "failed" ? "Go on" : verb(matched)}
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

/** What the dry run has found. The server counts in what it looks at first, and cancels whatever there is. */
function Found({ matched: { value, isExact }, isFiltered }: { matched: Matched; isFiltered: boolean }) {
  if (value === 0 && !isExact) {
    return <p>None of the latest tasks is to be cancelled; older ones were not counted. Nothing is cancelled yet.</p>;
  }
  return (
    <p>
      {isFiltered ? "The filter finds " : "Without a filter, it is all there are: "}
      <strong>
        {isExact ? "" : "more than "}
        {counted(value, "unfinished task")}
      </strong>
      . Nothing is cancelled yet.
    </p>
  );
}

function verb({ value, isExact }: Matched): string {
  if (isExact) return `Cancel ${count(value)}`;
  return value > 0 ? `Cancel ${count(value)} and more` : "Cancel what is older";
}
