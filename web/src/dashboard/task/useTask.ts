// One task as it is: its state, its steps and its history, each change as it happens.
//
// `taskChanged` with a taskId gives the current state at once and then after each change. Each time the history is read
// from the last record that is here, so that it has no hole; and anew the steps, which the server puts together.

import { useCallback, useEffect, useRef, useState } from "react";
import {
  type EntryFragment,
  HistoryDocument,
  type StepFragment,
  type TaskDetailsFragment,
  TaskChangedDocument,
  TaskDocument,
} from "../../gql/operations";
import { type FollowState, type Following, follow } from "../../resume/resume";
import { failure } from "../session/failure";
import { useSession } from "../session/Session";

const PAGE = 200;
/** Records come in bursts. */
const READ_MS = 250;
/** That a worker was told of a cancellation is no record: it is looked for while the answer is awaited. */
const ANSWER_MS = 3_000;

export interface UsedTask {
  readonly task: TaskDetailsFragment | null;
  readonly steps: readonly StepFragment[];
  readonly hasMoreSteps: boolean;
  /** Oldest first. */
  readonly history: readonly EntryFragment[];
  readonly hasOlder: boolean;
  readonly isRead: boolean;
  readonly state: FollowState;
  readonly problem: string | null;
  readOlder(): void;
  retry(): void;
  /** A newer state that came with an answer. */
  take(task: TaskDetailsFragment): void;
}

interface Read {
  task: TaskDetailsFragment | null;
  steps: readonly StepFragment[];
  hasMoreSteps: boolean;
  history: readonly EntryFragment[];
  before: string | null;
  isRead: boolean;
}

const NOTHING: Read = { task: null, steps: [], hasMoreSteps: false, history: [], before: null, isRead: false };

const olderThan = (page: { hasPreviousPage: boolean; startCursor: string | null | undefined }): string | null =>
  page.hasPreviousPage ? (page.startCursor ?? null) : null;

/** At the same position the later answer knows more: that a worker was told of a cancellation moves no position. */
const newest = (before: TaskDetailsFragment | null, task: TaskDetailsFragment | null) =>
  before && (!task || before.position > task.position) ? before : task;

export function useTask(userId: string, taskId: string): UsedTask {
  const { connection, signOut } = useSession();
  const [read, setRead] = useState<Read>(NOTHING);
  const [state, setState] = useState<FollowState>({ kind: "connecting" });
  const [problem, setProblem] = useState<string | null>(null);
  const following = useRef<Following | null>(null);
  /** The place of the last record that is here. */
  const end = useRef<string | null>(null);
  /** Records that the last reading has brought. */
  const arrived = useRef(0);

  const failed = useCallback(
    (reason: unknown) => {
      const { needsSignIn, message } = failure(reason);
      if (needsSignIn) signOut(message);
      else setProblem(message);
    },
    [signOut],
  );
  const readTask = useCallback(async () => {
    const { task } = await connection.ask(TaskDocument, { userId, taskId });
    setRead((last) => ({
      ...last,
      task: newest(last.task, task ?? null),
      steps: task?.steps?.nodes ?? last.steps,
      hasMoreSteps: task?.steps?.pageInfo.hasNextPage ?? false,
    }));
  }, [connection, userId, taskId]);

  /** What the history has after the last record that is here. */
  const readHistory = useCallback(async () => {
    const page = end.current === null ? { last: PAGE } : { first: PAGE, after: end.current };
    const { taskHistory } = await connection.ask(HistoryDocument, { userId, taskId, ...page });
    if (!taskHistory) throw failure(new Error("The history could not be read."));
    const { nodes, pageInfo } = taskHistory;
    const isFirst = end.current === null;
    end.current = pageInfo.endCursor ?? end.current;
    arrived.current += nodes.length;
    setRead((last) => ({
      ...last,
      history: isFirst ? nodes : [...last.history, ...nodes],
      before: isFirst ? olderThan(pageInfo) : last.before,
      isRead: true,
    }));
    return !isFirst && pageInfo.hasNextPage;
  }, [connection, userId, taskId]);

  useEffect(() => {
    setRead(NOTHING);
    end.current = null;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let reading: Promise<void> = Promise.resolve();
    /** One after the other: two that read after the same record would show what follows twice. */
    const readAll = () => {
      reading = reading
        .catch(() => {})
        .then(async () => {
          while (!isOver && (await readHistory()));
          if (!isOver) await readTask();
          setProblem(null);
        });
      return reading;
    };
    const used = follow<TaskDetailsFragment>({
      // The current state comes with each new subscription: no cursor is needed.
      spansUsers: true,
      readPage: async () => {
        arrived.current = 0;
        await readAll();
        return { tasks: [], feedCursor: null };
      },
      subscribe: (_after, sink) =>
        connection.watch(
          TaskChangedDocument,
          { userId, taskId },
          {
            next: ({ taskChanged: { task, feedCursor, ...rest } }) =>
              sink.next({ ...rest, task: task ?? null, feedCursor: feedCursor ?? null }),
            error: sink.error,
            complete: sink.complete,
          },
        ),
      onPage: () => arrived.current,
      onChange: (task) => {
        setRead((last) => ({ ...last, task: newest(last.task, task) }));
        timer ??= setTimeout(() => {
          timer = undefined;
          readAll().catch(failed);
        }, READ_MS);
      },
      onState: (next) => {
        setState(next);
        if (next.kind === "ended") failed(next.reason);
      },
      isFinal: (reason) => ["UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT"].includes(failure(reason).code),
      isExpired: () => false,
    });
    following.current = used;
    return () => {
      isOver = true;
      clearTimeout(timer);
      used.stop();
    };
  }, [connection, failed, readHistory, readTask, taskId, userId]);

  const isAwaited = read.task?.cancellation != null && !read.task.cancellation.acknowledgedAt;
  useEffect(() => {
    if (!isAwaited) return;
    const timer = setInterval(() => document.hidden || readTask().catch(failed), ANSWER_MS);
    return () => clearInterval(timer);
  }, [failed, isAwaited, readTask]);

  const readOlder = useCallback(() => {
    connection.ask(HistoryDocument, { userId, taskId, last: PAGE, before: read.before }).then(({ taskHistory }) => {
      if (!taskHistory) return;
      const { nodes, pageInfo } = taskHistory;
      setRead((last) => ({ ...last, history: [...nodes, ...last.history], before: olderThan(pageInfo) }));
    }, failed);
  }, [connection, failed, read.before, taskId, userId]);
  const take = useCallback(
    (task: TaskDetailsFragment) => setRead((last) => ({ ...last, task: newest(last.task, task) })),
    [],
  );
  const retry = useCallback(() => following.current?.retry(), []);

  return { ...read, hasOlder: read.before !== null, state, problem, readOlder, retry, take };
}
