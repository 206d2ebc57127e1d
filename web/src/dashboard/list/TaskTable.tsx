// The rows of the list that are in sight, of however many there are: each has the same height, so that where one stands
// needs no measuring. What is above the eye may come and go: the row at the top stays where it is.

import { type KeyboardEvent, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Row } from "../rows";
import { NewTasks } from "./NewTasks";
import { placeIn } from "./order";
import { TaskRow } from "./TaskRow";
import type { ListView, TaskList } from "./taskList";

/** Rows that are drawn beyond the edges, so that fast wheels meet no gap. */
const BEYOND = 6;
/** How far from the end the next page is asked for. */
const AHEAD = 400;

interface Props {
  list: TaskList;
  view: ListView;
  showsUser: boolean;
  readMore(): void;
}

export function TaskTable({ list, view, showsUser, readMore }: Props) {
  const { rows, hasMore, pages } = view;
  const scroller = useRef<HTMLDivElement>(null);
  const anchor = useRef<{ row: Row; offset: number } | null>(null);
  const isHovered = useRef(false);
  const [rowHeight, setRowHeight] = useState(56);
  const [range, setRange] = useState({ first: 0, last: 30 });
  const [focused, setFocused] = useState<string | null>(null);

  const look = useCallback(() => {
    const element = scroller.current;
    if (!element) return;
    const height = Number.parseFloat(getComputedStyle(element).getPropertyValue("--row-height")) || 56;
    const first = Math.max(0, Math.floor(element.scrollTop / height) - BEYOND);
    const last = Math.ceil((element.scrollTop + element.clientHeight) / height) + BEYOND;
    setRowHeight(height);
    setRange((before) => (before.first === first && before.last === last ? before : { first, last }));
    const top = rows[Math.floor(element.scrollTop / height)];
    anchor.current = top && element.scrollTop > 0 ? { row: top, offset: element.scrollTop % height } : null;
  }, [rows]);

  // The row that was at the top is put back there, whatever has come or gone above it.
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element || !anchor.current) return;
    const { row, offset } = anchor.current;
    const wanted = placeIn(rows, row) * rowHeight + offset;
    if (Math.abs(element.scrollTop - wanted) >= 1) element.scrollTop = wanted;
  }, [view, rows, rowHeight]);

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => observer.disconnect();
  }, [look]);

  // After each page again: one may have brought no row.
  useEffect(() => {
    if (hasMore && range.last + AHEAD > rows.length) readMore();
  }, [hasMore, pages, range.last, rows.length, readMore]);

  useEffect(() => {
    list.isReading = () => {
      const element = scroller.current;
      return (
        element !== null && (element.scrollTop > 0 || isHovered.current || element.contains(document.activeElement))
      );
    };
  }, [list]);

  const focusRow = (index: number) => {
    const row = rows[index];
    const element = scroller.current;
    if (!row || !element) return;
    const top = index * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight)
      element.scrollTop = top + rowHeight - element.clientHeight;
    setFocused(row.id);
    look();
    requestAnimationFrame(() => element.querySelector<HTMLElement>(`[aria-rowindex="${index + 2}"] a`)?.focus());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const from = rows.findIndex((row) => row.id === focused);
    const to = { ArrowDown: from + 1, ArrowUp: from - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || from < 0) return;
    event.preventDefault();
    focusRow(Math.max(0, Math.min(rows.length - 1, to)));
  };

  const indices = Array.from(
    { length: Math.max(0, Math.min(range.last, rows.length) - range.first) },
    (_, index) => range.first + index,
  );
  // The focus would be lost with its row.
  const kept = focused === null ? -1 : rows.findIndex((row) => row.id === focused);
  if (kept >= 0 && (kept < range.first || kept >= range.last)) indices.push(kept);

  const showWaiting = () => {
    anchor.current = null;
    if (scroller.current) scroller.current.scrollTop = 0;
    list.showWaiting();
  };

  return (
    <div className="table-frame">
      <NewTasks waiting={view.waiting} onShow={showWaiting} />
      <div
        ref={scroller}
        className={showsUser ? "table" : "table table-own"}
        role="table"
        aria-label="Tasks"
        aria-rowcount={hasMore ? -1 : rows.length + 1}
        tabIndex={0}
        onScroll={look}
        onKeyDown={onKeyDown}
        onPointerEnter={(event) => {
          isHovered.current = event.pointerType === "mouse";
        }}
        onPointerLeave={() => {
          isHovered.current = false;
        }}
      >
        <div role="rowgroup" className="table-head">
          <div role="row" aria-rowindex={1} className="row">
            <span role="columnheader">Status</span>
            <span role="columnheader">Task</span>
            {showsUser && <span role="columnheader">User</span>}
            <span role="columnheader">Progress</span>
            <span role="columnheader">Started</span>
            <span role="columnheader">Duration</span>
            <span role="columnheader">Last message</span>
          </div>
        </div>
        <div role="rowgroup" className="table-body" style={{ blockSize: rows.length * rowHeight }}>
          {indices.map((index) => {
            const row = rows[index];
            return (
              row && (
                <TaskRow
                  key={row.id}
                  task={row}
                  index={index}
                  top={index * rowHeight}
                  showsUser={showsUser}
                  onFocus={setFocused}
                />
              )
            );
          })}
        </div>
      </div>
    </div>
  );
}
