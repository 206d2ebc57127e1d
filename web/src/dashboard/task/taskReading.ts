// One task as it is read: its state, its steps, its history. The history is read from the last record that is here, so that
// it has no hole; the steps, which the server puts together, anew.
//
// All is asked in one queue: two that read after the same record would show what follows twice, and of two answers the
// older could come last.

import {
  EarlierStepsDocument,
  type EntryFragment,
  HistoryDocument,
  type HistoryQueryVariables,
  type StepFragment,
  type TaskDetailsFragment,
  TaskDocument,
} from "../../gql/operations";
import type { Connection } from "../session/connection";
import { failure } from "../session/failure";

const STEPS = 500;
const RECORDS = 200;

export interface ReadTask {
  readonly task: TaskDetailsFragment | null;
  /** The last ones, by number. */
  readonly steps: readonly StepFragment[];
  readonly hasEarlierSteps: boolean;
  /** Oldest first. */
  readonly history: readonly EntryFragment[];
  readonly hasOlder: boolean;
  readonly isRead: boolean;
}

const NOTHING: ReadTask = {
  task: null,
  steps: [],
  hasEarlierSteps: false,
  history: [],
  hasOlder: false,
  isRead: false,
};

/** At the same position the later answer knows more: that a worker was told of a cancellation moves no position. */
const newest = (before: TaskDetailsFragment | null, task: TaskDetailsFragment | null) =>
  before && (!task || before.position > task.position) ? before : task;

export class TaskReading {
  readonly #connection: Connection;
  readonly #of: { readonly userId: string; readonly taskId: string };
  readonly #mostSteps: number;
  readonly #mostRecords: number;
  readonly #listeners = new Set<() => void>();
  #read = NOTHING;
  /** The places of the first and the last record that are here. */
  #start: string | null = null;
  #end: string | null = null;
  /** How many steps are shown, if there are so many. */
  #wantedSteps: number;
  #queue: Promise<unknown> = Promise.resolve();
  #waiting: Promise<number> | null = null;

  /** `pageSize`: what the server gives of a list at the most. */
  constructor(connection: Connection, userId: string, taskId: string, pageSize: number) {
    this.#connection = connection;
    this.#of = { userId, taskId };
    this.#mostSteps = Math.min(STEPS, pageSize);
    this.#mostRecords = Math.min(RECORDS, pageSize);
    this.#wantedSteps = this.#mostSteps;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
  readonly snapshot = (): ReadTask => this.#read;

  /** A state that came by another way. */
  readonly take = (task: TaskDetailsFragment): void => this.#show({ task: newest(this.#read.task, task) });

  /**
   * What the history has after the last record that is here, and the task. Gives how many records have come. One that
   * waits for its turn is enough for all who ask meanwhile.
   */
  readAll(): Promise<number> {
    return (this.#waiting ??= this.#inTurn(async () => {
      this.#waiting = null;
      let count = 0;
      for (let hasMore = true; hasMore;) {
        const page = this.#end === null ? { last: this.#mostRecords } : { first: this.#mostRecords, after: this.#end };
        const { nodes, pageInfo } = await this.#records(page);
        if (this.#end === null) this.#older(nodes, pageInfo);
        else this.#show({ history: [...this.#read.history, ...nodes] });
        hasMore = this.#end !== null && pageInfo.hasNextPage;
        this.#end = pageInfo.endCursor ?? this.#end;
        count += nodes.length;
      }
      await this.#readTask();
      return count;
    }));
  }

  /** The task and its steps alone. */
  readonly readTask = (): Promise<void> => this.#inTurn(() => this.#readTask());

  /** The records before the first that is here, a page of them. */
  readonly readOlder = (): Promise<void> =>
    this.#inTurn(async () => {
      if (!this.#read.hasOlder) return;
      const { nodes, pageInfo } = await this.#records({ last: this.#mostRecords, before: this.#start });
      this.#older(nodes, pageInfo);
    });

  /** More of the steps before the first that is here. */
  readonly readEarlierSteps = (): Promise<void> =>
    this.#inTurn(() => {
      if (this.#read.hasEarlierSteps) this.#wantedSteps = this.#read.steps.length + this.#mostSteps;
      return this.#readTask();
    });

  async #readTask(): Promise<void> {
    const { task } = await this.#connection.ask(TaskDocument, { ...this.#of, steps: this.#mostSteps });
    let page = task?.steps;
    let steps = page?.nodes ?? this.#read.steps;
    // All that are shown: a task that is begun anew changes its first ones, too.
    while (page?.pageInfo.hasPreviousPage && page.pageInfo.startCursor && steps.length < this.#wantedSteps) {
      const variables = { ...this.#of, last: this.#mostSteps, before: page.pageInfo.startCursor };
      page = (await this.#connection.ask(EarlierStepsDocument, variables)).task?.steps;
      steps = [...(page?.nodes ?? []), ...steps];
    }
    this.#show({
      task: newest(this.#read.task, task ?? null),
      steps,
      hasEarlierSteps: page?.pageInfo.hasPreviousPage ?? false,
      isRead: true,
    });
  }

  async #records(page: Omit<HistoryQueryVariables, "userId" | "taskId">) {
    const { taskHistory } = await this.#connection.ask(HistoryDocument, { ...this.#of, ...page });
    if (!taskHistory) throw failure(new Error("The history could not be read."));
    return taskHistory;
  }

  #older(
    nodes: readonly EntryFragment[],
    page: { readonly hasPreviousPage: boolean; readonly startCursor?: string | null | undefined },
  ): void {
    this.#start = page.startCursor ?? this.#start;
    this.#show({ history: [...nodes, ...this.#read.history], hasOlder: page.hasPreviousPage });
  }

  #show(part: Partial<ReadTask>): void {
    this.#read = { ...this.#read, ...part };
    for (const listener of this.#listeners) listener();
  }

  #inTurn<R>(read: () => Promise<R>): Promise<R> {
    const turn = this.#queue.then(read, read);
    this.#queue = turn;
    return turn;
  }
}
