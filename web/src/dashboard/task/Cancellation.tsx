// What became of a cancellation: requested, told to a worker, answered. Each as it happens.

import type { TaskDetailsFragment } from "../../gql/operations";
import { Time } from "../parts/Time";

const OUTCOMES: Record<string, string> = {
  STOPPED: "The worker has stopped",
  FINISHED_FIRST: "The work was finished first",
  CANNOT_STOP: "The worker cannot stop",
};

export function Cancellation({ cancellation }: { cancellation: NonNullable<TaskDetailsFragment["cancellation"]> }) {
  const { requestedAt, requestedBy, reason, deliveredAt, acknowledgedAt, outcome, message } = cancellation;
  return (
    <section aria-labelledby="cancellation">
      <h2 id="cancellation">Cancellation</h2>
      <ol className="card cancellation" aria-live="polite">
        <li className="done">
          <strong>Requested{requestedBy ? ` by ${requestedBy}` : ""}</strong> <Time at={requestedAt} />
          {reason && <p>{reason}</p>}
        </li>
        <li className={deliveredAt ? "done" : acknowledgedAt ? "skipped" : "open"}>
          {deliveredAt ? (
            <>
              <strong>Told to a worker</strong> <Time at={deliveredAt} />
            </>
          ) : acknowledgedAt ? (
            <span>Nobody had to be told</span>
          ) : (
            <span>A worker hears of it with its next report</span>
          )}
        </li>
        <li className={acknowledgedAt ? "done" : "open"}>
          {acknowledgedAt ? (
            <>
              <strong>{outcome ? (OUTCOMES[outcome] ?? outcome) : "Answered"}</strong> <Time at={acknowledgedAt} />
              {message && <p>{message}</p>}
            </>
          ) : (
            <span>The worker has not answered yet</span>
          )}
        </li>
      </ol>
    </section>
  );
}
