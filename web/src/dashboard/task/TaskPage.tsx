// A task: where it stands, what became of its cancellation, its steps to scale, and every record.

import { useState } from "react";
import { CopyButton } from "../parts/CopyButton";
import { Elapsed } from "../parts/Elapsed";
import { Fact } from "../parts/Fact";
import { LiveBanner } from "../parts/LiveBanner";
import { Notice } from "../parts/Notice";
import { Problem } from "../parts/Problem";
import { Progress } from "../parts/Progress";
import { Status } from "../parts/Status";
import { Time } from "../parts/Time";
import { Link } from "../router";
import { CancelDialog } from "./CancelDialog";
import { Cancellation } from "./Cancellation";
import { History } from "./History";
import { JsonViewer } from "./JsonViewer";
import { Steps } from "./Steps";
import { Timeline } from "./Timeline";
import { useTask } from "./useTask";

export function TaskPage({ userId, taskId }: { userId: string; taskId: string }) {
  const used = useTask(userId, taskId);
  const { task, steps, state, problem } = used;
  const [isCancelling, setCancelling] = useState(false);
  return (
    <main tabIndex={-1} className="task-page">
      <nav aria-label="Path" className="path">
        <Link href="/">Tasks</Link>
      </nav>
      <LiveBanner state={state} onRetry={used.retry} />
      <Problem text={problem} />
      {!task && used.isRead && (
        <>
          <h1 className="sr-only">Task {taskId}</h1>
          <Notice title="There is no such task">
            Or it is not yours to see. Should <code>{taskId}</code> be reported later, it appears here by itself.
          </Notice>
        </>
      )}
      {task && (
        <>
          <header className="task-head">
            <div>
              <h1>{task.name || task.taskId}</h1>
              <p className="task-ids">
                <span className="id">{task.taskId}</span> of <span className="id">{task.userId}</span>
                <CopyButton label="Copy the id" text={() => task.taskId} />
              </p>
              {task.tags.length > 0 && (
                <ul className="tags" aria-label="Tags">
                  {task.tags.map((tag) => (
                    <li key={tag}>
                      <Link href={`/?tag=${encodeURIComponent(tag)}`}>{tag}</Link>
                    </li>
                  ))}
                </ul>
              )}
            </div>
            {!task.cancellation && (
              <button type="button" className="danger" onClick={() => setCancelling(true)}>
                Cancel …
              </button>
            )}
          </header>
          <dl className="facts card">
            <Fact name="Status">
              <span data-testid="status">
                <Status status={task.status} />
              </span>
            </Fact>
            <Fact name="Progress">
              <Progress step={task.step} totalSteps={task.totalSteps} progress={task.progress} />
            </Fact>
            <Fact name="Duration">
              <Elapsed from={task.startedAt} to={task.finishedAt} isOver={task.isFinished} />
            </Fact>
            <Fact name="Created">
              <Time at={task.createdAt} />
            </Fact>
            <Fact name="Started">
              <Time at={task.startedAt} />
            </Fact>
            <Fact name={task.isFinished ? "Finished" : "Last change"}>
              <Time at={task.isFinished ? task.finishedAt : task.updatedAt} />
            </Fact>
            {task.message && (
              <Fact name="Last message" isWide>
                {task.message}
              </Fact>
            )}
            {(task.errorCode || task.errorMessage) && (
              <Fact name="Error" isWide>
                {task.errorCode && <code>{task.errorCode}</code>} {task.errorMessage}
              </Fact>
            )}
          </dl>
          {task.cancellation && <Cancellation cancellation={task.cancellation} />}
          <Timeline steps={steps} isOver={task.isFinished} hasEarlier={used.hasEarlierSteps} />
          <Steps
            steps={steps}
            isOver={task.isFinished}
            hasEarlier={used.hasEarlierSteps}
            onEarlier={used.readEarlierSteps}
          />
          {task.result !== null && task.result !== undefined && (
            <section aria-labelledby="result">
              <h2 id="result">Result</h2>
              <JsonViewer label="The task's latest result" value={task.result} />
            </section>
          )}
          <History entries={used.history} hasOlder={used.hasOlder} onOlder={used.readOlder} />
          {isCancelling && <CancelDialog task={task} onTask={used.take} onClose={() => setCancelling(false)} />}
        </>
      )}
    </main>
  );
}
