// How long something took; while it goes on, how long so far, ticking.

import { duration } from "./format";
import { useNow } from "./now";

interface Props {
  from: string | null | undefined;
  to: string | null | undefined;
  isOver: boolean;
}

export function Elapsed({ from, to, isOver }: Props) {
  if (!from) return <span className="nothing">–</span>;
  const start = Date.parse(from);
  if (to) return <>{duration(Date.parse(to) - start)}</>;
  return isOver ? <span className="nothing">–</span> : <Ticking start={start} />;
}

function Ticking({ start }: { start: number }) {
  const ms = Math.max(0, useNow() - start);
  return <>{duration(ms < 60_000 ? Math.floor(ms / 1000) * 1000 : ms)}</>;
}
