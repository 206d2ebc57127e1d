// The scale of the timeline: where a moment stands between its ends, and at which moments there are ticks.

import type { StepFragment } from "../../gql/operations";

export interface Scale {
  readonly start: number;
  readonly end: number;
}

/** From the first report to the last end; to `now` while a step goes on. */
export function scaleOf(steps: readonly StepFragment[], now: number | null): Scale {
  const starts = steps.map((step) => Date.parse(step.reportedAt));
  const ends = steps.flatMap((step) =>
    [step.reportedAt, step.startedAt, step.finishedAt].map((at) => Date.parse(at ?? "")),
  );
  const known = ends.filter((at) => !Number.isNaN(at));
  const start = Math.min(...starts);
  const end = Math.max(...known, now ?? Number.NEGATIVE_INFINITY);
  // All in one moment is drawn as well.
  return { start, end: Math.max(end, start + 1) };
}

/** In percent of the width. */
export const at = ({ start, end }: Scale, moment: number): number => ((moment - start) / (end - start)) * 100;

const LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200, 500].concat(
  [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400].map((s) => s * 1000),
);

/** Five or so round lengths from the start, in milliseconds. */
export function ticks({ start, end }: Scale): number[] {
  const length = end - start;
  const step = LENGTHS.find((candidate) => length / candidate <= 6) ?? Math.ceil(length / 6 / 86_400_000) * 86_400_000;
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, index) => index * step);
}
