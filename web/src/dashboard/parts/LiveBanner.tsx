// How the live updates stand: quiet while all is well, plain words when it is not, and after an absence how much has been
// caught up. Screen readers hear of each change once.

import { useEffect, useState } from "react";
import type { FollowState } from "../../resume/resume";
import { counted } from "./format";
import { useNow } from "./now";

const CAUGHT_UP_MS = 8_000;

export function LiveBanner({ state, onRetry }: { state: FollowState; onRetry(): void }) {
  const [isOld, setOld] = useState(false);
  useEffect(() => {
    setOld(false);
    if (state.kind !== "live") return;
    const timer = setTimeout(() => setOld(true), CAUGHT_UP_MS);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <div role="status" className={`banner banner-${state.kind}`} data-live={state.kind}>
      {state.kind === "disconnected" && (
        <>
          <span>
            Disconnected: what you see may be out of date. <NextTry at={state.retryAt} />
          </span>
          <button type="button" className="quiet" onClick={onRetry}>
            Try now
          </button>
        </>
      )}
      {state.kind === "resuming" && <span>Connected again, catching up …</span>}
      {state.kind === "live" && state.caughtUp !== null && !isOld && (
        <span>
          {state.caughtUp === 0
            ? "Up to date again: nothing had changed."
            : `Up to date again: caught up with ${counted(state.caughtUp, "change")}.`}
        </span>
      )}
    </div>
  );
}

/** Not read out each second. */
function NextTry({ at }: { at: number }) {
  const seconds = Math.max(0, Math.ceil((at - useNow()) / 1000));
  return <span aria-hidden="true">{seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again …"}</span>;
}
