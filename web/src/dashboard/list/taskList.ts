// The rows of the list, outside of React: a hundred thousand of them change without a copy, and the view is told at
// most once a frame. It knows nothing of the network: `useTaskList` feeds it.
//
// A row changes in place, and leaves when it leaves the filter. A task that comes into the filter is put among the rows
// where nobody is reading them, and else waits in `waiting`, so that nothing moves under the reader's eyes. While the list
// is paused, all that comes is kept aside: changes in `held`, and the list that was read after an absence in `kept`.

import { newer } from "../../resume/resume";
import type { Row } from "../rows";
import { comparePlaces, type Placed, placeIn } from "./order";

export interface ListView {
  readonly rows: readonly Row[];
  /** Tasks that have come into the filter and are not shown yet. */
  readonly waiting: number;
  /** Tasks that have changed while the list was paused. */
  readonly held: number;
  readonly isPaused: boolean;
  /** Whether the list goes on behind its last row. */
  readonly hasMore: boolean;
  /** How many pages were read; one may have brought no row, where the server found none in what it looks at for a page. */
  readonly pages: number;
}

/** Where what was read of the list ends. */
export interface End {
  /** Where the next page begins; null where the list has no more. */
  readonly next: string | null;
  /** The last task that was read, even if it has left since; null where there was none. */
  readonly last: Placed | null;
  /** Whether the end is just at `last`. Where the server has ended a page early, it is somewhere behind. */
  readonly isAtLast: boolean;
}

/** What was read of the list: a page, or several that were read one after the other. */
export interface Page {
  readonly tasks: readonly Row[];
  readonly end: End;
}

interface Change {
  readonly task: Row;
  readonly matches: boolean;
}

const START: End = { next: null, last: null, isAtLast: false };

/** Whether a task stands behind all that was read, as far as the rows tell. */
const isBehind = ({ next, last }: End, task: Placed): boolean =>
  next !== null && (last === null || comparePlaces(last, task) < 0);

/** The end of two pages, one read after the other. */
export const joined = (before: End, end: End): End => ({ ...end, last: end.last ?? before.last });

/** Keeps the newest change of each task. */
function note(changes: Map<string, Change>, task: Row, matches: boolean): void {
  const before = changes.get(task.id);
  if (!before || newer(before.task, task) === task) changes.set(task.id, { task, matches });
}

export class TaskList {
  /** Whether somebody reads the rows, so that they must not move. */
  isReading: () => boolean = () => false;

  private rows: Row[] = [];
  private readonly byId = new Map<string, Row>();
  private readonly waiting = new Map<string, Row>();
  private readonly held = new Map<string, Change>();
  private kept: Page | null = null;
  private end = START;
  /** What has changed while a further page is being read; null while none is. */
  private during: Map<string, Change> | null = null;
  private isPaused = false;
  private pages = 0;
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

  /** The list as it is now, read from its top. Gives how many tasks differ from what was known. */
  replace(page: Page): number {
    this.forgetPage();
    const changes = this.compare(page);
    if (this.isPaused && this.pages > 0) {
      const now = new Map(page.tasks.map((task) => [task.id, task]));
      // All that was held is older than the page.
      for (const change of [...this.held.values(), ...changes]) {
        const task = now.get(change.task.id);
        this.held.set(change.task.id, task ? { task, matches: true } : { task: change.task, matches: false });
      }
      this.kept = page;
    } else {
      this.put(page);
    }
    this.pages += 1;
    this.tell();
    return changes.length;
  }

  /** A task has changed: the newer of two states is kept. */
  change(task: Row, matches: boolean): void {
    if (this.isPaused) note(this.held, task, matches);
    else this.apply(task, matches);
    this.tell();
  }

  pause(): void {
    this.isPaused = true;
    this.tell();
  }

  goOn(): void {
    this.isPaused = false;
    if (this.kept) {
      this.forgetPage();
      this.put(this.kept);
      this.kept = null;
      this.pages += 1;
    }
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

  /**
   * Reads the page behind the last one, unless one is being read. What changes meanwhile may be newer than the page. False
   * where there was nothing to do, or where the page is no longer wanted.
   */
  async readMore(read: (next: string) => Promise<Page>): Promise<boolean> {
    const { next } = this.end;
    if (this.during || next === null) return false;
    const during = new Map<string, Change>();
    this.during = during;
    const isWanted = () => this.during === during;
    try {
      const page = await read(next);
      if (!isWanted()) return false;
      this.append(page, during);
      return true;
    } catch (reason) {
      if (!isWanted()) return false;
      throw reason;
    } finally {
      if (isWanted()) this.during = null;
      this.tell();
    }
  }

  /** A page that is being read is no longer wanted: the list is read anew, or not at all any more. */
  forgetPage(): void {
    this.during = null;
  }

  /** What differs in a list that was read from its top, as far down as both it and what was known before reach. */
  private compare(page: Page): Change[] {
    const { tasks, end } = this.kept ?? { tasks: [...this.rows, ...this.waiting.values()], end: this.end };
    const known = new Map(tasks.map((task) => [task.id, task]));
    for (const { task, matches } of this.held.values()) {
      if (!matches) known.delete(task.id);
      else if (known.has(task.id) || !isBehind(end, task)) known.set(task.id, task);
    }
    const changes: Change[] = [];
    for (const task of page.tasks) {
      const before = known.get(task.id);
      known.delete(task.id);
      if (before ? before.position !== task.position : !isBehind(end, task)) changes.push({ task, matches: true });
    }
    for (const task of known.values()) if (!isBehind(page.end, task)) changes.push({ task, matches: false });
    return changes;
  }

  /** Shows a list that was read from its top. Rows that are new among those that were shown wait, if somebody reads. */
  private put({ tasks, end }: Page): void {
    const isRead = this.rows.length > 0 && this.isReading();
    const shown: Row[] = [];
    this.waiting.clear();
    for (const task of tasks) {
      if (!isRead || this.byId.has(task.id) || isBehind(this.end, task)) shown.push(task);
      else this.waiting.set(task.id, task);
    }
    this.rows = shown.sort(comparePlaces);
    this.byId.clear();
    for (const row of shown) this.byId.set(row.id, row);
    this.end = end;
  }

  /** Shows a further page, and what has come into the filter where it stands, after it was put together. */
  private append(page: Page, during: Map<string, Change>): void {
    const end = joined(this.end, page.end);
    for (const task of page.tasks) {
      const change = during.get(task.id);
      during.delete(task.id);
      if (!change || newer(task, change.task) === task) this.bring(task);
      else if (change.matches) this.bring(change.task);
    }
    this.end = end;
    for (const { task, matches } of during.values()) {
      const isKnown = this.byId.has(task.id) || this.waiting.has(task.id);
      if (matches && !isKnown && !this.isToCome(task)) this.insert(task);
    }
    this.pages += 1;
  }

  /** A row of a page: nothing above it moves. */
  private bring(task: Row): void {
    const row = this.byId.get(task.id);
    const newest = newer(row ?? this.waiting.get(task.id) ?? task, task);
    this.waiting.delete(task.id);
    if (row) this.set(newest);
    else this.insert(newest);
  }

  private apply(task: Row, matches: boolean): void {
    if (this.during) note(this.during, task, matches);
    const row = this.byId.get(task.id) ?? this.waiting.get(task.id);
    if (row) {
      if (newer(row, task) === row) return;
      this.waiting.delete(task.id);
      if (!this.byId.has(task.id)) {
        if (matches) this.waiting.set(task.id, task);
      } else if (matches) {
        this.set(task);
      } else {
        this.rows.splice(placeIn(this.rows, task), 1);
        this.byId.delete(task.id);
      }
    } else if (matches && !this.isToCome(task)) {
      if (this.rows.length > 0 && this.isReading()) this.waiting.set(task.id, task);
      else this.insert(task);
    }
  }

  /** Whether the next page will bring the task. Where it may have been looked at already, it is shown instead. */
  private isToCome(task: Row): boolean {
    return this.end.isAtLast && isBehind(this.end, task);
  }

  private set(task: Row): void {
    this.rows[placeIn(this.rows, task)] = task;
    this.byId.set(task.id, task);
  }

  private insert(task: Row): void {
    this.rows.splice(placeIn(this.rows, task), 0, task);
    this.byId.set(task.id, task);
  }

  private look(): ListView {
    const { rows, isPaused, pages } = this;
    return { rows, waiting: this.waiting.size, held: this.held.size, isPaused, hasMore: this.end.next !== null, pages };
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
