// Counts by status, finished tasks as a stacked chart, and how long they took; left out where a server has none of it.

import { StatisticsDocument } from "../../gql/operations";
import { Fact } from "../parts/Fact";
import { count, counted, duration } from "../parts/format";
import { useNow } from "../parts/now";
import { ReadProblem } from "../parts/Problem";
import { Status } from "../parts/Status";
import { useRead } from "../parts/useRead";
import { Link } from "../router";
import { Chart } from "./Chart";
import { rangeOf, type Window } from "./windows";

const EVERY_MS = 10_000;

export function Statistics({ userId, window }: { userId: string | null; window: Window }) {
  const range = rangeOf(window, useNow());
  const variables = { userId, ...range, bucket: window.bucket };
  const read = useRead(StatisticsDocument, variables, { everyMs: EVERY_MS, about: window.label });
  const statistics = read.data?.taskStatistics;
  if (read.problem?.isUnknownField) return <p className="hint">This server has no statistics.</p>;
  // As high as what comes, which then moves nothing.
  if (!statistics) {
    return (
      <div className="statistics-reading" aria-busy={!read.problem}>
        <ReadProblem of={read} />
      </div>
    );
  }
  const { byStatus, total, series, durationSeconds } = statistics;
  return (
    <>
      <ReadProblem of={read} />
      <section aria-labelledby="now">
        <h2 id="now">{counted(total, "task")} now</h2>
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
              <Fact key={key} name={key === "max" ? "Longest" : key}>
                {duration(durationSeconds[key] * 1000)}
              </Fact>
            ))}
          </dl>
        ) : (
          <p className="card hint">Nothing has finished in this time.</p>
        )}
      </section>
    </>
  );
}
