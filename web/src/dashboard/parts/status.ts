// The six statuses as people read them, and in which order.

import type { TaskStatus } from "../rows";

export const STATUSES = [
  "PENDING",
  "RUNNING",
  "COMPLETED",
  "FAILED",
  "CANCELLED",
  "TIMED_OUT",
] as const satisfies TaskStatus[];

const NAMES: Record<TaskStatus, string> = {
  PENDING: "Pending",
  RUNNING: "Running",
  COMPLETED: "Completed",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
  TIMED_OUT: "Timed out",
};

export const statusName = (status: TaskStatus): string => NAMES[status];

/** For class names: `status-timed-out`. */
export const statusClass = (status: TaskStatus): string => `status-${status.toLowerCase().replace("_", "-")}`;
