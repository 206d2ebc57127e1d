// How many tasks the filter finds: counted by the server up to a bound, now and then.

import { TaskCountDocument, type TaskFilter } from "../../gql/operations";
import { count } from "../parts/format";
import { useRead } from "../parts/useRead";

const EVERY_MS = 15_000;

interface Props {
  userId: string | null;
  filter: TaskFilter;
  isLive: boolean;
}

export function Count({ userId, filter, isLive }: Props) {
  const counted = useRead(TaskCountDocument, isLive ? { userId, filter } : null, EVERY_MS).data?.tasks?.count;
  if (!counted) return <span className="count">Tasks</span>;
  const { value, isExact } = counted;
  return (
    <span className="count">
      {isExact ? `${count(value)} ${value === 1 ? "task" : "tasks"}` : `More than ${count(value)} tasks`}
    </span>
  );
}
