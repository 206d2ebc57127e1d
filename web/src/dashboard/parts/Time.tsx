// A moment in the reader's zone; hovering shows it in UTC.

import { time, utc } from "./format";

export function Time({ at }: { at: string | null | undefined }) {
  if (!at) return <span className="nothing">–</span>;
  return (
    <time dateTime={at} title={utc(at)}>
      {time(at, Date.now())}
    </time>
  );
}
