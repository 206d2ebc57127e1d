// The windows of the statistics, and in which buckets each is drawn.

import type { StatisticsBucket } from "../../gql/operations";

export interface Window {
  readonly label: string;
  readonly ms: number;
  readonly bucket: StatisticsBucket;
  readonly bucketMs: number;
  readonly per: string;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const WINDOWS: readonly [Window, Window, Window, Window] = [
  { label: "Last hour", ms: HOUR, bucket: "MINUTE", bucketMs: MINUTE, per: "minute" },
  { label: "Last 24 hours", ms: DAY, bucket: "HOUR", bucketMs: HOUR, per: "hour" },
  { label: "Last 7 days", ms: 7 * DAY, bucket: "HOUR", bucketMs: HOUR, per: "hour" },
  { label: "Last 30 days", ms: 30 * DAY, bucket: "DAY", bucketMs: DAY, per: "day" },
];

/** The window that ends with the bucket in which `now` is, so that it is the same question until the next one. */
export function rangeOf({ ms, bucketMs }: Window, now: number): { since: string; until: string } {
  const until = Math.ceil((now + 1) / bucketMs) * bucketMs;
  return { since: new Date(until - ms).toISOString(), until: new Date(until).toISOString() };
}
