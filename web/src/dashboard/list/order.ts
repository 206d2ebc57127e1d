// The order of the list, newest first: the server's own for CREATED_DESC, ties included. A task's place never changes.

export interface Placed {
  readonly createdAt: string;
  readonly userId: string;
  readonly taskId: string;
}

/** By code points, as the server compares; `<` on strings would compare UTF-16 units. */
function compareText(one: string, other: string): number {
  if (one === other) return 0;
  const [a, b] = [Array.from(one), Array.from(other)];
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at += 1) {
    const [left, right] = [a[at] ?? "", b[at] ?? ""];
    if (left !== right) return (left.codePointAt(0) ?? 0) - (right.codePointAt(0) ?? 0);
  }
  return a.length - b.length;
}

/** Negative where `one` stands above `other`. */
export function comparePlaces(one: Placed, other: Placed): number {
  // A DateTime sorts as text.
  if (one.createdAt !== other.createdAt) return one.createdAt > other.createdAt ? -1 : 1;
  return compareText(other.userId, one.userId) || compareText(other.taskId, one.taskId);
}

/** Where a task stands in sorted rows, or where it would have to be put. */
export function placeIn(rows: readonly Placed[], task: Placed): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle];
    if (row && comparePlaces(row, task) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
