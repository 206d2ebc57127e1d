// Cancels all unfinished tasks that the filter finds: first a dry run that says how many, then for real, as many at a
// time as the server takes.

import { type FormEvent, useEffect, useState } from "react";
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

export function BulkCancel({ userId, filter, isFiltered, onClose }: Props) {
  const { connection } = useSession();
  const [matched, setMatched] = useState<Matched | null>(null);
  const [cancelled, setCancelled] = useState(0);
  const [reason, setReason] = useState("");
  const [stage, setStage] = useState<"counting" | "asking" | "cancelling" | "done">("counting");
  const [problem, setProblem] = useState<string | null>(null);

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

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setStage("cancelling");
    setProblem(null);
    try {
      let total = cancelled;
      for (;;) {
        const done = await run(false);
        total += done.cancelledCount;
        setCancelled(total);
        if (!done.hasMore || done.cancelledCount === 0) break;
      }
      setStage("done");
    } catch (cause) {
      setProblem(failure(cause).message);
      setStage("asking");
    }
  };

  const many = matched && `${matched.isExact ? "" : "more than "}${counted(matched.value, "unfinished task")}`;
  return (
    <Dialog title="Cancel tasks" onClose={onClose}>
      <form onSubmit={submit}>
        <Problem text={problem} />
        <div role="status">
          {stage === "counting" && !problem && <p>Counting …</p>}
          {stage === "asking" && many && (
            <p>
              {isFiltered ? "The filter finds " : "Without a filter, it is all there are: "}
              <strong>{many}</strong>. Nothing is cancelled yet.
            </p>
          )}
          {stage === "cancelling" && <p>Cancelling … {cancelled > 0 && `${count(cancelled)} so far.`}</p>}
          {stage === "done" && (
            <p>
              <strong>{counted(cancelled, "task")}</strong> cancelled. Their workers hear of it with their next report.
            </p>
          )}
        </div>
        {stage === "asking" && matched && matched.value > 0 && (
          <Reason label="Reason, for the workers and the history" value={reason} onChange={setReason} />
        )}
        <div className="actions">
          <button type="button" className="quiet" onClick={onClose}>
            {stage === "done" ? "Close" : "Cancel nothing"}
          </button>
          {stage === "asking" && matched && matched.value > 0 && (
            <button type="submit" className="danger">
              Cancel {count(matched.value)}
              {matched.isExact ? "" : " and more"}
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}
