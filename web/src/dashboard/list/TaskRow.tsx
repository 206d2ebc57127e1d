// A row of the list. Drawn anew only where its task or its place has changed.

import { memo } from "react";
import { Elapsed } from "../parts/Elapsed";
import { Progress } from "../parts/Progress";
import { Status } from "../parts/Status";
import { statusClass } from "../parts/status";
import { Time } from "../parts/Time";
import { Link, taskPath } from "../router";
import type { Row } from "../rows";

interface Props {
  task: Row;
  index: number;
  top: number;
  showsUser: boolean;
  onFocus(id: string): void;
}

export const TaskRow = memo(function TaskRow({ task, index, top, showsUser, onFocus }: Props) {
  const isStopping = task.cancellation && !task.cancellation.acknowledgedAt;
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      className={`row ${statusClass(task.status)}`}
      style={{ transform: `translateY(${top}px)` }}
      data-task={task.taskId}
      data-position={task.position}
    >
      <span role="cell" className="cell-status">
        <Status status={task.status} />
      </span>
      <span role="cell" className="cell-task">
        <Link href={taskPath(task.userId, task.taskId)} onFocus={() => onFocus(task.id)}>
          {task.name || task.taskId}
        </Link>
        <span className="id">{task.taskId}</span>
      </span>
      {showsUser && (
        <span role="cell" className="cell-user">
          {task.userId}
        </span>
      )}
      <span role="cell" className="cell-progress">
        <Progress step={task.step} totalSteps={task.totalSteps} progress={task.progress} />
      </span>
      <span role="cell" className="cell-started">
        <Time at={task.startedAt} />
      </span>
      <span role="cell" className="cell-duration">
        <Elapsed from={task.startedAt} to={task.finishedAt} isOver={task.isFinished} />
      </span>
      <span role="cell" className="cell-message">
        {task.errorCode && <code>{task.errorCode}</code>}
        {isStopping ? "Cancelled; the worker has not answered yet" : task.message}
      </span>
    </div>
  );
});
