// What failed or timed out last: the first thing that one comes here for.

import { FailuresDocument } from "../../gql/operations";
import { ReadProblem } from "../parts/Problem";
import { Status } from "../parts/Status";
import { Time } from "../parts/Time";
import { useRead } from "../parts/useRead";
import { Link, taskPath } from "../router";
import { atMost, useSession } from "../session/Session";

const EVERY_MS = 5_000;
const SHOWN = 8;

export function Failures({ userId }: { userId: string | null }) {
  const { viewer } = useSession();
  const read = useRead(FailuresDocument, { userId, first: atMost(SHOWN, viewer) }, { everyMs: EVERY_MS });
  const tasks = read.data?.tasks?.nodes;
  return (
    <section aria-labelledby="failures" className="failures">
      <h2 id="failures">
        Latest failures <Link href="/?status=FAILED,TIMED_OUT">Show all</Link>
      </h2>
      <div className="card">
        <ReadProblem of={read} />
        {tasks?.length === 0 && <p className="hint">Nothing has failed or timed out.</p>}
        {tasks && tasks.length > 0 && (
          <ul className="failure-list">
            {tasks.map((task) => (
              <li key={task.id}>
                <Status status={task.status} />
                <Link href={taskPath(task.userId, task.taskId)}>{task.name || task.taskId}</Link>
                <span className="failure-words">
                  {task.errorCode && <code>{task.errorCode}</code>} {task.errorMessage || task.message}
                </span>
                <Time at={task.updatedAt} />
              </li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}
