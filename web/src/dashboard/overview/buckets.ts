// The buckets of the chart in words, in the reader's zone. The server's days are those of UTC: elsewhere such a day begins
// at some hour, which is said, as its date alone would name another day.

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const clock = { hour: "2-digit", minute: "2-digit" } as const;
const day = { month: "short", day: "numeric" } as const;

const isMidnight = (date: Date): boolean => date.getHours() === 0 && date.getMinutes() === 0;

const dayOf = (date: Date): string =>
  isMidnight(date) ? date.toLocaleDateString(undefined, day) : date.toLocaleString(undefined, { ...day, ...clock });

/** Where a bucket begins, for the axis. */
export function bucketStart(start: string, bucketMs: number): string {
  const date = new Date(start);
  return bucketMs < DAY_MS ? date.toLocaleString(undefined, { weekday: "short", ...clock }) : dayOf(date);
}

/** The whole of it. */
export function bucketSpan(start: string, bucketMs: number): string {
  const [from, to] = [new Date(start), new Date(Date.parse(start) + bucketMs)];
  if (bucketMs >= DAY_MS) return isMidnight(from) ? dayOf(from) : `${dayOf(from)} – ${dayOf(to)}`;
  if (bucketMs === MINUTE_MS) return bucketStart(start, bucketMs);
  return `${bucketStart(start, bucketMs)} – ${to.toLocaleTimeString(undefined, clock)}`;
}
