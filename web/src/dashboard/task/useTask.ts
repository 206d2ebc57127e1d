// One task, each change as it happens.
//
// `taskChanged` with a taskId gives the current state at once and then after each change. Each time its records and steps
// are read, too.

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { type TaskDetailsFragment, TaskChangedDocument } from "../../gql/operations";
import type { FollowState } from "../../resume/resume";
import { useSession } from "../session/Session";
import { type Followed, useFollow, useProblem } from "../session/useFollow";
import { type ReadTask, TaskReading } from "./taskReading";

/** Records come in bursts. */
const READ_MS = 250;
/** That a worker was told of a cancellation is no record: it is looked for while the answer is awaited. */
const ANSWER_MS = 3_000;

interface UsedTask extends ReadTask {
  readonly state: FollowState;
  readonly problem: string | null;
  readOlder(): void;
  readEarlierSteps(): void;
  retry(): void;
  /** A newer state that came with an answer. */
  take(task: TaskDetailsFragment): void;
}

export function useTask(userId: string, taskId: string): UsedTask {
  const { connection, viewer } = useSession();
  const { pageSize } = viewer.limits;
  const reading = useMemo(
    () => new TaskReading(connection, userId, taskId, pageSize),
    [connection, pageSize, taskId, userId],
  );
  const read = useSyncExternalStore(reading.subscribe, reading.snapshot);
  const { problem, failed, succeeded } = useProblem();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const followed = useMemo<Followed<TaskDetailsFragment>>(() => {
    let arrived = 0;
    return {
      // The current state comes with each new subscription: no cursor is needed.
      spansUsers: true,
      readPage: async () => {
        arrived = await reading.readAll();
        succeeded();
        return { tasks: [], feedCursor: null };
      },
      watch: (_after, sink) => connection.watch(TaskChangedDocument, { userId, taskId }, sink),
      onPage: () => arrived,
      onChange: (task) => {
        reading.take(task);
        timer.current ??= setTimeout(() => {
          timer.current = undefined;
          reading.readAll().then(succeeded, failed);
        }, READ_MS);
      },
    };
  }, [connection, failed, reading, succeeded, taskId, userId]);
  const { state, retry } = useFollow(followed, failed);
  useEffect(() => () => clearTimeout(timer.current), [followed]);

  const isAwaited = read.task?.cancellation != null && !read.task.cancellation.acknowledgedAt;
  useEffect(() => {
    if (!isAwaited) return;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    // The next one once this one is answered, however long that takes.
    const next = () => {
      if (!isOver) timer = setTimeout(ask, ANSWER_MS);
    };
    const ask = () => (document.hidden ? next() : reading.readTask().catch(failed).then(next));
    next();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [failed, isAwaited, reading]);

  const readOlder = useCallback(() => void reading.readOlder().catch(failed), [failed, reading]);
  const readEarlierSteps = useCallback(() => void reading.readEarlierSteps().catch(failed), [failed, reading]);
  return { ...read, state, problem, readOlder, readEarlierSteps, retry, take: reading.take };
}
