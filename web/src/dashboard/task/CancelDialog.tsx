// Cancelling one task, with a reason. What comes of it shows on the task's page.

import { type FormEvent, useState } from "react";
import { CancelTaskDocument, type TaskDetailsFragment } from "../../gql/operations";
import { Dialog } from "../parts/Dialog";
import { Problem } from "../parts/Problem";
import { Reason } from "../parts/Reason";
import { failure } from "../session/failure";
import { useSession } from "../session/Session";

const REFUSALS: Record<string, string> = {
  ALREADY_FINISHED: "It has finished already. It can be cancelled all the same: its status becomes Cancelled.",
  NOT_FOUND: "The task is not there any more.",
};

interface Props {
  task: TaskDetailsFragment;
  onTask(task: TaskDetailsFragment): void;
  onClose(): void;
}

export function CancelDialog({ task, onTask, onClose }: Props) {
  const { connection } = useSession();
  const [reason, setReason] = useState("");
  const [refusal, setRefusal] = useState<string | null>(task.isFinished ? "ALREADY_FINISHED" : null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isAsking, setAsking] = useState(false);
  const force = refusal === "ALREADY_FINISHED";

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setAsking(true);
    setProblem(null);
    try {
      const { userId, taskId } = task;
      const input = { userId, taskId, reason: reason.trim() || null, force };
      const { cancelTask } = await connection.change(CancelTaskDocument, { input });
      if (cancelTask?.task) onTask(cancelTask.task);
      if (cancelTask && cancelTask.outcome in REFUSALS) setRefusal(cancelTask.outcome);
      else onClose();
    } catch (cause) {
      setProblem(failure(cause).message);
    } finally {
      setAsking(false);
    }
  };

  return (
    <Dialog title="Cancel this task" onClose={onClose}>
      <form onSubmit={submit}>
        <Problem text={problem} />
        <p role="status">
          {refusal
            ? REFUSALS[refusal]
            : "Its status becomes Cancelled at once. The worker hears of it with its next report."}
        </p>
        <Reason label="Reason, for the worker and the history" value={reason} onChange={setReason} />
        <div className="actions">
          <button type="button" className="quiet" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" className="danger" disabled={isAsking || refusal === "NOT_FOUND"}>
            {force ? "Cancel it all the same" : "Cancel the task"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
