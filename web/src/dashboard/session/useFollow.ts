// Follows tasks for as long as a view shows them: `follow` of resume/ over the session's connection, its state for the
// banner, what goes wrong for the page. Where the browser says that it is online again, it is tried at once.
//
// To use it: `useProblem`, then `useMemo` what is followed, and hand it over; another object is another following.

import { useCallback, useEffect, useRef, useState } from "react";
import {
  type FollowOptions,
  type FollowState,
  type Following,
  follow,
  type Sink,
  type TaskPage,
  type Versioned,
} from "../../resume/resume";
import { failure } from "./failure";
import { useSession } from "./Session";

/** What `taskChanged` delivers, as its operation asks for it. */
interface TaskChangedEvent<T> {
  readonly taskChanged: {
    readonly task?: T | null;
    readonly feedCursor?: string | null;
    readonly matchesFilter: boolean;
    readonly isReplay: boolean;
  };
}

export interface Followed<T extends Versioned, P extends TaskPage<T> = TaskPage<T>>
  extends Pick<FollowOptions<T, P>, "spansUsers" | "onPage" | "onChange"> {
  /** Reads no further page once it is aborted. */
  readPage(signal: AbortSignal): Promise<P>;
  /** Starts `taskChanged` after this cursor, as `Connection.watch` does, and gives the function that ends it. */
  watch(after: string | null, sink: Sink<TaskChangedEvent<T>>): () => void;
}

/** What has failed of what a view reads: back to the sign-in, or words for the page. */
export function useProblem() {
  const { signOut } = useSession();
  const [problem, setProblem] = useState<string | null>(null);
  const failed = useCallback(
    (reason: unknown) => {
      const { needsSignIn, message } = failure(reason);
      if (needsSignIn) signOut(message);
      else setProblem(message);
    },
    [signOut],
  );
  const succeeded = useCallback(() => setProblem(null), []);
  return { problem, failed, succeeded };
}

/** `failed` hears why it has ended, if it has. */
export function useFollow<T extends Versioned, P extends TaskPage<T>>(
  followed: Followed<T, P>,
  failed: (reason: unknown) => void,
) {
  const [state, setState] = useState<FollowState>({ kind: "connecting" });
  const following = useRef<Following | null>(null);
  const retry = useCallback(() => following.current?.retry(), []);

  useEffect(() => {
    const { watch, readPage, ...rest } = followed;
    const reading = new AbortController();
    following.current = follow<T, P>({
      ...rest,
      readPage: () => readPage(reading.signal),
      subscribe: (after, sink) =>
        watch(after, {
          ...sink,
          next: ({ taskChanged: { task, feedCursor, ...event } }) =>
            sink.next({ ...event, task: task ?? null, feedCursor: feedCursor ?? null }),
        }),
      onState: (next) => {
        setState(next);
        if (next.kind === "ended") failed(next.reason);
      },
      isFinal: (reason) => failure(reason).isFinal,
      isExpired: (reason) => failure(reason).code === "CURSOR_EXPIRED",
    });
    window.addEventListener("online", retry);
    return () => {
      window.removeEventListener("online", retry);
      reading.abort();
      following.current?.stop();
    };
  }, [failed, followed, retry]);

  return { state, retry };
}
