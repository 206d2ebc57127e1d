// A status: its sign, its colour and its name, so that nobody depends on the colour.

import type { TaskStatus } from "../rows";
import { statusClass, statusName } from "./status";

const SIGNS: Record<TaskStatus, string> = {
  PENDING: "M8 4v4l2.5 1.5",
  RUNNING: "M6.5 5.2v5.6L11 8z",
  COMPLETED: "M5 8.2l2.2 2.2L11.2 6",
  FAILED: "M5.7 5.7l4.6 4.6m0-4.6l-4.6 4.6",
  CANCELLED: "M5 8h6",
  TIMED_OUT: "M8 4.6v4.2m0 2.2v.4",
};

export function Status({ status }: { status: TaskStatus }) {
  return (
    <span className={`status ${statusClass(status)}`}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="8" cy="8" r="7" />
        <path d={SIGNS[status]} />
      </svg>
      {statusName(status)}
    </span>
  );
}
