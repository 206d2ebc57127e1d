// Feeds a TaskList from the server: the pages, the changes, and what an absence has left behind.

import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { TaskListChangedDocument, TaskListDocument, type TaskFilter } from "../../gql/operations";
import type { FollowState } from "../../resume/resume";
import type { Connection } from "../session/connection";
import { failure } from "../session/failure";
import { atMost, useSession } from "../session/Session";
import { type Followed, useFollow, useProblem } from "../session/useFollow";
import type { Row } from "../rows";
import { type End, joined, type ListView, type Page, TaskList } from "./taskList";

/** What a page is read with at first, and further down, where the wheel is fast. */
const FIRST_PAGE = 100;
const PAGE = 500;
/** After an absence the rows are read again, up to so many, in so many pages; what is below is read when one gets there. */
const READ_AGAIN = 10_000;
const PAGES_AGAIN = 40;

interface UsedTaskList {
  readonly list: TaskList;
  readonly view: ListView;
  readonly state: FollowState;
  /** Why a further page could not be read. */
  readonly problem: string | null;
  readMore(): void;
  retry(): void;
}

interface Read extends Page {
  readonly feedCursor: string | null;
}

/** `userId` null: everybody's tasks. */
export function useTaskList(userId: string | null, filter: TaskFilter): UsedTaskList {
  const { connection, viewer } = useSession();
  const list = useMemo(() => new TaskList(), [userId, filter]);
  const view = useSyncExternalStore(list.subscribe, list.snapshot);
  const { problem, failed, succeeded } = useProblem();
  const pageSize = atMost(PAGE, viewer);

  const followed = useMemo<Followed<Row, Read>>(
    () => ({
      spansUsers: userId === null,
      readPage: async (signal) => {
        const wanted = Math.min(READ_AGAIN, list.size);
        const read = (first: number, after: string | null) => page(connection, userId, filter, first, after);
        const first = await read(Math.min(pageSize, Math.max(FIRST_PAGE, wanted)), null);
        const tasks = [...first.tasks];
        let { end }: { end: End } = first;
        for (let pages = 1; pages < PAGES_AGAIN && tasks.length < wanted && end.next !== null; pages += 1) {
          if (signal.aborted) break;
          const next = await read(pageSize, end.next);
          tasks.push(...next.tasks);
          end = joined(end, next.end);
        }
        return { tasks, end, feedCursor: first.feedCursor };
      },
      watch: (after, sink) => connection.watch(TaskListChangedDocument, { userId, filter, after }, sink),
      onPage: (read) => {
        succeeded();
        return list.replace(read);
      },
      onChange: (task, matches) => list.change(task, matches),
    }),
    [connection, filter, list, pageSize, succeeded, userId],
  );
  const { state, retry } = useFollow(followed, failed);
  useEffect(() => () => list.forgetPage(), [followed, list]);

  const readMore = useCallback(() => {
    list
      .readMore((next) => page(connection, userId, filter, pageSize, next))
      .then((isShown) => isShown && succeeded(), failed);
  }, [connection, failed, filter, list, pageSize, succeeded, userId]);

  return { list, view, state, problem, readMore, retry };
}

async function page(
  connection: Connection,
  userId: string | null,
  filter: TaskFilter,
  first: number,
  after: string | null,
): Promise<Read> {
  const { tasks } = await connection.ask(TaskListDocument, { userId, filter, first, after });
  if (!tasks) throw failure(new Error("The list could not be read."));
  const { nodes, pageInfo, feedCursor } = tasks;
  const next = pageInfo.hasNextPage ? (pageInfo.endCursor ?? null) : null;
  const end = { next, last: nodes.at(-1) ?? null, isAtLast: nodes.length === first };
  return { tasks: nodes, end, feedCursor: feedCursor ?? null };
}
