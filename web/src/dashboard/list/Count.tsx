// How many tasks the filter finds: counted by the server up to a bound, now and then.

import { TaskCountDocument, type TaskFilter } from "../../gql/operations";
import { counted } from "../parts/format";
import { useRead } from "../parts/useRead";

const EVERY_MS = 15_000;

interface Props {
  userId: string | null;
  filter: TaskFilter;
  isLive: boolean;
}

export function Count({ userId, filter, isLive }: Props) {
  const asked = { userId, filter };
  // What was counted stays while nobody answers.
  const options = { everyMs: EVERY_MS, about: JSON.stringify(asked) };
  const found = useRead(TaskCountDocument, isLive ? asked : null, options).data?.tasks?.count;
  if (!found) return <span className="count">Tasks</span>;
  const { value, isExact } = found;
  return (
    <span className="count">
      {!isExact && "More than "}
      {counted(value, "task")}
    </span>
  );
}
