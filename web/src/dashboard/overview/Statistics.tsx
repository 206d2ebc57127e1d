// Counts by status, finished tasks as a stacked chart, and how long they took; left out where a server has none of it.

import { StatisticsDocument } from "../../gql/operations";
import { count, duration } from "../parts/format";
import { useNow } from "../parts/now";
import { Status } from "../parts/Status";
import { useRead } from "../parts/useRead";
import { Link } from "../router";
import { Chart } from "./Chart";
import { rangeOf, type Window } from "./windows";

const EVERY_MS = 10_000;

export function Statistics({ userId, window }: { userId: string | null; window: Window }) {
  const range = rangeOf(window, useNow());
  const { data, problem } = useRead(StatisticsDocument, { userId, ...range, bucket: window.bucket }, EVERY_MS);
  const statistics = data?.taskStatistics;
  if (problem && !statistics) {
    const isMissing = problem.code === "GRAPHQL_VALIDATION_FAILED";
    return (
      <p className={isMissing ? "hint" : "problem"}>{isMissing ? "This server has no statistics." : problem.message}</p>
    );
  }
  if (!statistics) return null;
  const { byStatus, total, series, durationSeconds } = statistics;
  return (
    <>
      <section aria-labelledby="now">
        <h2 id="now">
          {count(total)} {total === 1 ? "task" : "tasks"} now
        </h2>
        <ul className="tiles">
          {byStatus.map(({ status, count: tasks }) => (
            <li key={status} className="card tile">
              <Link href={`/?status=${status}`}>
                <Status status={status} />
                <strong>{count(tasks)}</strong>
              </Link>
            </li>
          ))}
        </ul>
      </section>
      <section aria-labelledby="finished">
        <h2 id="finished">
          Finished per {window.per} <span className="hint">{window.label.toLowerCase()}</span>
        </h2>
        <Chart series={series} bucketMs={window.bucketMs} per={window.per} />
      </section>
      <section aria-labelledby="durations">
        <h2 id="durations">
          Durations <span className="hint">start to finish, {window.label.toLowerCase()}</span>
        </h2>
        {durationSeconds ? (
          <dl className="facts card">
            {(["p50", "p90", "p99", "max"] as const).map((key) => (
              <div key={key}>
                <dt>{key === "max" ? "Longest" : key}</dt>
                <dd>{duration(durationSeconds[key] * 1000)}</dd>
              </div>
            ))}
          </dl>
        ) : (
          <p className="card hint">Nothing has finished in this time.</p>
        )}
      </section>
    </>
  );
}
