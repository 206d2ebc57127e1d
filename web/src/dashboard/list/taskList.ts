// The rows of the list, outside of React: a hundred thousand of them change without a copy, and the view is told at
// most once a frame. It knows nothing of the network: `useTaskList` feeds it.
//
// A row changes in place, and leaves when it leaves the filter. A task that comes into the filter is put among the rows
// where nobody is reading them, and else waits in `waiting`, so that nothing moves under the reader's eyes.

import { newer } from "../../resume/resume";
import type { Row } from "../rows";
import { comparePlaces, placeIn } from "./order";

export interface ListView {
  readonly rows: readonly Row[];
  /** Tasks that have come into the filter and are not shown yet. */
  readonly waiting: number;
  /** Tasks that have changed while the list was paused. */
  readonly held: number;
  readonly isPaused: boolean;
  /** Whether the list goes on behind its last row. */
  readonly hasMore: boolean;
  /** Whether any page was read yet. */
  readonly isRead: boolean;
}

interface Change {
  readonly task: Row;
  readonly matches: boolean;
}

export class TaskList {
  /** Whether somebody reads the rows, so that they must not move. */
  isReading: () => boolean = () => false;

  private rows: Row[] = [];
  private readonly byId = new Map<string, Row>();
  private readonly waiting = new Map<string, Row>();
  private readonly held = new Map<string, Change>();
  /** What has changed while a further page is being read; null while none is. */
  private during: Map<string, Change> | null = null;
  private hasMore = false;
  private isPaused = false;
  private isRead = false;
  private view: ListView = this.look();
  private readonly listeners = new Set<() => void>();
  private frame: number | null = null;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): ListView => this.view;

  /** How many rows there are, shown or waiting: as many are read again after an absence. */
  get size(): number {
    return this.rows.length + this.waiting.size;
  }

  /** The list as it is now. Rows that are new in it wait, unless there were none. Gives how many differ. */
  replace(tasks: readonly Row[], hasMore: boolean): number {
    const before = new Map(this.byId);
    for (const [id, task] of this.waiting) before.set(id, task);
    let changes = 0;
    const shown: Row[] = [];
    const isFirst = this.rows.length === 0 || !this.isReading();
    const fresh: Row[] = [];
    for (const task of tasks) {
      const old = before.get(task.id);
      before.delete(task.id);
      if (!old || old.position !== task.position) changes += 1;
      if (isFirst || this.byId.has(task.id)) shown.push(task);
      else fresh.push(task);
    }
    changes += before.size;
    this.rows = shown.sort(comparePlaces);
    this.byId.clear();
    for (const row of shown) this.byId.set(row.id, row);
    this.waiting.clear();
    for (const task of fresh) this.waiting.set(task.id, task);
    this.held.clear();
    this.hasMore = hasMore;
    this.isRead = true;
    this.tell();
    return changes;
  }

  /** A task has changed: the newer of two states is kept. */
  change(task: Row, matches: boolean): void {
    if (this.isPaused) {
      const before = this.held.get(task.id);
      if (!before || newer(before.task, task) === task) this.held.set(task.id, { task, matches });
    } else {
      this.apply(task, matches);
    }
    this.tell();
  }

  pause(): void {
    this.isPaused = true;
    this.tell();
  }

  goOn(): void {
    this.isPaused = false;
    for (const { task, matches } of this.held.values()) this.apply(task, matches);
    this.held.clear();
    this.tell();
  }

  /** Puts what waits among the rows. */
  showWaiting(): void {
    for (const task of this.waiting.values()) this.insert(task);
    this.waiting.clear();
    this.tell();
  }

  /** Reads the page behind the last row. What changes meanwhile may be newer than the page. */
  async readMore(read: () => Promise<{ tasks: readonly Row[]; hasMore: boolean }>): Promise<void> {
    const during = new Map<string, Change>();
    this.during = during;
    try {
      const page = await read();
      if (this.during !== during) return;
      for (const task of page.tasks) {
        const change = during.get(task.id);
        const isNewer = change !== undefined && newer(task, change.task) === change.task;
        if (!isNewer) this.apply(task, true, true);
        else if (change.matches) this.apply(change.task, true, true);
      }
      this.hasMore = page.hasMore;
    } finally {
      if (this.during === during) this.during = null;
      this.tell();
    }
  }

  /** A page that is being read is no longer wanted: the list is read anew. */
  forgetPage(): void {
    this.during = null;
  }

  private apply(task: Row, matches: boolean, isPage = false): void {
    if (!isPage) {
      const before = this.during?.get(task.id);
      if (!before || newer(before.task, task) === task) this.during?.set(task.id, { task, matches });
    }
    const row = this.byId.get(task.id) ?? this.waiting.get(task.id);
    if (row) {
      if (newer(row, task) === row) return;
      this.waiting.delete(task.id);
      if (!this.byId.has(task.id)) {
        if (matches) this.waiting.set(task.id, task);
      } else if (matches) {
        this.rows[placeIn(this.rows, task)] = task;
        this.byId.set(task.id, task);
      } else {
        this.rows.splice(placeIn(this.rows, task), 1);
        this.byId.delete(task.id);
      }
    } else if (matches && isPage) {
      this.insert(task);
    } else if (matches && !this.isBehindEnd(task)) {
      if (this.rows.length > 0 && this.isReading()) this.waiting.set(task.id, task);
      else this.insert(task);
    }
  }

  /** Whether the task stands where no page was read yet: the page will bring it. */
  private isBehindEnd(task: Row): boolean {
    const last = this.rows.at(-1);
    return this.hasMore && (last === undefined || comparePlaces(last, task) < 0);
  }

  private insert(task: Row): void {
    this.rows.splice(placeIn(this.rows, task), 0, task);
    this.byId.set(task.id, task);
  }

  private look(): ListView {
    const { rows, hasMore, isPaused, isRead } = this;
    return { rows, waiting: this.waiting.size, held: this.held.size, isPaused, hasMore, isRead };
  }

  private tell(): void {
    if (this.frame !== null) return;
    // A page in the background gets no frames, and needs none.
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.view = this.look();
      for (const listener of this.listeners) listener();
    });
  }
}
