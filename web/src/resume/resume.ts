// A list of tasks that stays true: read once, then followed by `taskChanged`, and after any absence brought up to date
// again, so that no change is lost and none is shown twice. For front ends to copy: it imports nothing, knows no framework
// and no client. docs/frontends.md shows it with Apollo, urql and Relay.
//
// Two ways to go on, by whether the list is one user's:
// - One user has a feed with a cursor. The page's `feedCursor` says what the page shows; `taskChanged(after:)` begins
//   there; each event that carries a `feedCursor` moves it. After an absence: subscribe again after the last one.
//   CURSOR_EXPIRED means that this cannot be done any more: read the page anew.
// - Everybody together has no cursor. Subscribe first, and read the list when the event without a task says that the
//   stream is live: what changes during the reading comes over the stream. After an absence: the same again.
//
// Either way one task can arrive twice, from the page and from the stream, in any order: of two states of a task the one
// with the higher `position` is the newer and is kept.

/** What every task has that is followed. */
export interface Versioned {
  readonly id: string;
  readonly position: number;
}

/** An event of `taskChanged`. */
export interface TaskChange<T> {
  /** Null in the one event that says that the stream is live. */
  readonly task: T | null;
  /** Whether the task is in the filter now; false for one that may just have left it. */
  readonly matchesFilter: boolean;
  /** Null where the stream spans several users, and where this event covers nothing yet. */
  readonly feedCursor: string | null;
  readonly isReplay: boolean;
}

/** A page of `tasks`, or several that were read one after the other: then with the first one's `feedCursor`. */
export interface TaskPage<T> {
  readonly tasks: readonly T[];
  readonly feedCursor: string | null;
}

/** Where a subscription delivers to: the shape that graphql-ws and graphql-sse ask for. */
export interface Sink<E> {
  next(event: E): void;
  error(reason: unknown): void;
  complete(): void;
}

/** How the following stands, for a banner. */
export type FollowState =
  | { readonly kind: "connecting" }
  /** `caughtUp`: how many tasks had changed in an absence; null where there was none. */
  | { readonly kind: "live"; readonly caughtUp: number | null }
  | { readonly kind: "disconnected"; readonly reason: unknown; readonly retryAt: number }
  | { readonly kind: "resuming" }
  /** It has ended for good: the token is missing or not valid any more, or `isFinal` said so. */
  | { readonly kind: "ended"; readonly reason: unknown };

export interface FollowOptions<T extends Versioned, P extends TaskPage<T> = TaskPage<T>> {
  /** Whether the list shows tasks of several users, so that there is no cursor. */
  readonly spansUsers: boolean;
  /** What a page has beside its tasks comes to `onPage` as it is. */
  readPage(): Promise<P>;
  /** Starts `taskChanged` and gives the function that ends it. No retries of its own: they would repeat an old `after`. */
  subscribe(after: string | null, sink: Sink<TaskChange<T>>): () => void;
  /** The list as it is: shown in place of what was there. Gives how many tasks differ from what was shown. */
  onPage(page: P): number;
  /** A newer state of a task, perhaps one that is not in the list; `matches` is false where it is not in the filter. */
  onChange(task: T, matches: boolean): void;
  onState(state: FollowState): void;
  /** Whether it makes no sense to try again. */
  isFinal(reason: unknown): boolean;
  /** Whether the cursor can no longer be gone on from (`CURSOR_EXPIRED`). */
  isExpired(reason: unknown): boolean;
}

export interface Following {
  /** Tries again at once instead of waiting on. */
  retry(): void;
  stop(): void;
}

/** Of two states of one task, the newer. */
export const newer = <T extends Versioned>(one: T, other: T): T => (other.position > one.position ? other : one);

/**
 * A whole list in memory, by id: `onPage` and `onChange` for `follow`, where a page is all that is shown. `show` is called with
 * what is to be shown whenever that has changed; `keep` takes what came by another way, as a mutation's task.
 */
export function inMemory<T extends Versioned>(show: (page: TaskPage<T>) => void) {
  const tasks = new Map<string, T>();
  let feedCursor: string | null = null;
  const put = (task: T) => tasks.set(task.id, newer(tasks.get(task.id) ?? task, task));
  const tell = () => show({ tasks: [...tasks.values()], feedCursor });
  const keep = (task: T) => {
    put(task);
    tell();
  };
  return {
    keep,
    onPage(page: TaskPage<T>): number {
      const before = new Map(tasks);
      tasks.clear();
      page.tasks.forEach(put);
      feedCursor = page.feedCursor;
      tell();
      return page.tasks.filter((task) => before.get(task.id)?.position !== task.position).length;
    },
    onChange(task: T, matches: boolean): void {
      if (matches) return keep(task);
      // A mutation may have brought a newer state, which may be in the filter again.
      if (newer(task, tasks.get(task.id) ?? task) !== task) return;
      tasks.delete(task.id);
      tell();
    },
  };
}

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;

/** Doubling, and some chance in it, so that the clients of a server that was restarted do not all come at once. */
export const waitMs = (attempt: number): number =>
  Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt) * (0.5 + Math.random() / 2);

export function follow<T extends Versioned, P extends TaskPage<T> = TaskPage<T>>(
  options: FollowOptions<T, P>,
): Following {
  let cursor: string | null = null;
  let wasLive = false;
  let wasExpired = false;
  let isOver = false;
  let attempt = 0;
  /** Differences that a page read anew has brought, told once the stream is live. */
  let carried = 0;
  let endOfWait = () => {};
  let endOfStream = () => {};

  const stream = (after: string | null): Promise<never> =>
    new Promise((_, reject) => {
      let replayed = 0;
      let isOpen = true;
      /** What changes while the list is read. */
      let held: Map<string, TaskChange<T>> | null = null;

      const live = (changes: number) => {
        options.onState({ kind: "live", caughtUp: wasLive ? changes : null });
        wasLive = true;
        wasExpired = false;
        attempt = 0;
        carried = 0;
      };
      const readList = async () => {
        const during = new Map<string, TaskChange<T>>();
        held = during;
        const page = await options.readPage();
        held = null;
        if (!isOpen) return;
        const tasks = page.tasks.flatMap((task) => {
          const change = during.get(task.id);
          during.delete(task.id);
          if (!change?.task || newer(task, change.task) === task) return [task];
          // It may have left the filter since the page was put together.
          return change.matchesFilter ? [change.task] : [];
        });
        const changes = options.onPage({ ...page, tasks });
        for (const { task, matchesFilter } of during.values()) if (task) options.onChange(task, matchesFilter);
        live(changes);
      };
      const next = (event: TaskChange<T>) => {
        if (!isOpen) return;
        const { task } = event;
        if (task === null) {
          if (options.spansUsers) readList().catch(fail);
          else live(carried + replayed);
        } else if (held) {
          const before = held.get(task.id);
          if (!before?.task || newer(before.task, task) === task) held.set(task.id, event);
        } else {
          if (event.isReplay) replayed += 1;
          options.onChange(task, event.matchesFilter);
        }
        // Only once it is delivered: what comes after the cursor is told again, what is before it never.
        if (event.feedCursor !== null && !options.spansUsers) cursor = event.feedCursor;
      };
      const fail = (reason: unknown) => {
        if (!isOpen) return;
        isOpen = false;
        unsubscribe();
        reject(reason);
      };
      let unsubscribe = () => {};
      endOfStream = () => fail(new Error("Stopped"));
      unsubscribe = options.subscribe(after, {
        next,
        error: fail,
        complete: () => fail(new Error("The server has ended the stream")),
      });
      if (!isOpen) unsubscribe();
    });

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      endOfWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const run = async () => {
    options.onState({ kind: "connecting" });
    while (!isOver) {
      try {
        if (!options.spansUsers && cursor === null) {
          const page = await options.readPage();
          if (isOver) return;
          cursor = page.feedCursor;
          carried += options.onPage(page);
        }
        await stream(options.spansUsers ? null : cursor);
      } catch (reason) {
        if (isOver) return;
        if (options.isFinal(reason)) {
          isOver = true;
          return options.onState({ kind: "ended", reason });
        }
        const isExpired = options.isExpired(reason);
        if (isExpired) cursor = null;
        const isFirst = isExpired && !wasExpired;
        wasExpired = isExpired;
        // Nothing is wrong with the connection then: the list is read anew at once, but not again and again.
        if (!isFirst) {
          const ms = waitMs(attempt);
          attempt += 1;
          options.onState({ kind: "disconnected", reason, retryAt: Date.now() + ms });
          await pause(ms);
        }
        if (!isOver) options.onState({ kind: wasLive ? "resuming" : "connecting" });
      }
    }
  };
  void run();

  return {
    retry: () => {
      attempt = 0;
      endOfWait();
    },
    stop: () => {
      isOver = true;
      endOfWait();
      endOfStream();
    },
  };
}
