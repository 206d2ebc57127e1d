// Feeds a TaskList from the server: the pages, the changes, and what an absence has left behind.

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { TaskListChangedDocument, TaskListDocument, type TaskListQuery, type TaskFilter } from "../../gql/operations";
import { type FollowState, type Following, follow } from "../../resume/resume";
import { failure } from "../session/failure";
import { type Connection } from "../session/connection";
import { useSession } from "../session/Session";
import type { Row } from "../rows";
import { type ListView, TaskList } from "./taskList";

/** What a page is read with at first, and further down, where the wheel is fast. */
const FIRST_PAGE = 100;
const PAGE = 500;
/** After an absence the rows are read again, up to so many; what is below is read when one gets there. */
const READ_AGAIN = 10_000;

export interface UsedTaskList {
  readonly list: TaskList;
  readonly view: ListView;
  readonly state: FollowState;
  /** Why a further page could not be read. */
  readonly problem: string | null;
  readMore(): void;
  retry(): void;
}

type Tasks = NonNullable<TaskListQuery["tasks"]>;

/** `userId` null: everybody's tasks. */
export function useTaskList(userId: string | null, filter: TaskFilter): UsedTaskList {
  const { connection, signOut, viewer } = useSession();
  const list = useMemo(() => new TaskList(), [userId, filter]);
  const view = useSyncExternalStore(list.subscribe, list.snapshot);
  const [state, setState] = useState<FollowState>({ kind: "connecting" });
  const [problem, setProblem] = useState<string | null>(null);
  const following = useRef<Following | null>(null);
  const end = useRef<string | null>(null);
  const isReading = useRef(false);
  const pageSize = Math.min(PAGE, viewer.limits.pageSize);

  useEffect(() => {
    const readPage = async () => {
      list.forgetPage();
      const wanted = Math.min(READ_AGAIN, list.size);
      const first = await page(connection, userId, filter, Math.min(pageSize, Math.max(FIRST_PAGE, wanted)), null);
      const tasks: Row[] = [...first.nodes];
      let { pageInfo } = first;
      while (tasks.length < wanted && pageInfo.hasNextPage) {
        const next = await page(connection, userId, filter, pageSize, pageInfo.endCursor ?? null);
        tasks.push(...next.nodes);
        pageInfo = next.pageInfo;
      }
      return { tasks, feedCursor: first.feedCursor ?? null, pageInfo };
    };
    let hasMore = false;
    const used = follow<Row>({
      spansUsers: userId === null,
      readPage: async () => {
        const { pageInfo, ...read } = await readPage();
        end.current = pageInfo.endCursor ?? null;
        hasMore = pageInfo.hasNextPage;
        return read;
      },
      subscribe: (after, sink) =>
        connection.watch(
          TaskListChangedDocument,
          { userId, filter, after },
          {
            next: ({ taskChanged: { task, feedCursor, ...rest } }) =>
              sink.next({ ...rest, task: task ?? null, feedCursor: feedCursor ?? null }),
            error: sink.error,
            complete: sink.complete,
          },
        ),
      onPage: ({ tasks }) => {
        setProblem(null);
        return list.replace(tasks, hasMore);
      },
      onChange: (task, matches) => list.change(task, matches),
      onState: (next) => {
        setState(next);
        if (next.kind === "ended") {
          const { needsSignIn, message } = failure(next.reason);
          if (needsSignIn) signOut(message);
          else setProblem(message);
        }
      },
      isFinal: (reason) => ["UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT"].includes(failure(reason).code),
      isExpired: (reason) => failure(reason).code === "CURSOR_EXPIRED",
    });
    following.current = used;
    const online = () => used.retry();
    window.addEventListener("online", online);
    return () => {
      window.removeEventListener("online", online);
      used.stop();
    };
  }, [connection, filter, list, pageSize, signOut, userId]);

  const readMore = useCallback(() => {
    if (isReading.current) return;
    isReading.current = true;
    const read = async () => {
      const next = await page(connection, userId, filter, pageSize, end.current);
      end.current = next.pageInfo.endCursor ?? null;
      return { tasks: next.nodes, hasMore: next.pageInfo.hasNextPage };
    };
    list
      .readMore(read)
      .then(
        () => setProblem(null),
        (reason: unknown) => setProblem(failure(reason).message),
      )
      .finally(() => {
        isReading.current = false;
      });
  }, [connection, filter, list, pageSize, userId]);
  const retry = useCallback(() => following.current?.retry(), []);

  return { list, view, state, problem, readMore, retry };
}

async function page(
  connection: Connection,
  userId: string | null,
  filter: TaskFilter,
  first: number,
  after: string | null,
): Promise<Tasks> {
  const { tasks } = await connection.ask(TaskListDocument, { userId, filter, first, after });
  if (!tasks) throw failure(new Error("The list could not be read."));
  return tasks;
}
