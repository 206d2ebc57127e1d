// What is stored, in which partitions, how it grows, and what is removed when.

import type { SystemQuery } from "../../gql/operations";
import { bytes, count, counted } from "../parts/format";
import { Time } from "../parts/Time";

type System = NonNullable<SystemQuery["system"]>;

const day = (at: string) =>
  new Date(at).toLocaleDateString(undefined, { month: "short", day: "numeric", timeZone: "UTC" });

/** One end of a partition. The first and the last are open: the server tells the ends of the calendar for that. */
const bound = (at: string) => (/^(0001|9999)-/.test(at) ? "open" : day(at));

export function Storage({ storage, retention }: Pick<System, "storage" | "retention">) {
  if (!storage) return null;
  const most = Math.max(1, ...storage.recordsPerDay.map(({ records }) => records));
  return (
    <>
      <dl className="facts card">
        <div>
          <dt>History</dt>
          <dd>
            {bytes(storage.historyBytes)}
            <span className="hint">{count(storage.records)} records</span>
          </dd>
        </div>
        <div>
          <dt>Tasks</dt>
          <dd>
            {bytes(storage.taskBytes)}
            <span className="hint">{count(storage.tasks)} tasks</span>
          </dd>
        </div>
        {retention && (
          <div>
            <dt>Kept for</dt>
            <dd>
              {retention.keepDays === 0 ? "ever" : counted(retention.keepDays, "day")}
              {retention.nextRunAt && (
                <span className="hint">
                  next clean-up: <Time at={retention.nextRunAt} />
                </span>
              )}
            </dd>
          </div>
        )}
        {storage.recordsPerDay.length > 0 && (
          <div className="wide">
            <dt>Records per day</dt>
            <dd>
              <ul className="days">
                {storage.recordsPerDay.map(({ day: at, records }) => (
                  <li key={at} title={`${day(at)}: ${count(records)}`}>
                    <span className="days-bar" style={{ blockSize: `${(records / most) * 100}%` }} />
                    <span className="sr-only">
                      {day(at)}: {count(records)}
                    </span>
                  </li>
                ))}
              </ul>
            </dd>
          </div>
        )}
      </dl>
      {storage.partitions.length > 0 && (
        <div className="card scrolls" tabIndex={0} role="region" aria-label="Partitions">
          <table>
            <caption>Partitions of the history</caption>
            <thead>
              <tr>
                <th scope="col">Partition</th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col" className="number">
                  Size
                </th>
                <th scope="col" className="number">
                  Records, about
                </th>
              </tr>
            </thead>
            <tbody>
              {storage.partitions.map((partition) => (
                <tr key={partition.name}>
                  <th scope="row">{partition.name}</th>
                  <td>{bound(partition.start)}</td>
                  <td>{bound(partition.end)}</td>
                  <td className="number">{bytes(partition.bytes)}</td>
                  <td className="number">{count(partition.estimatedRecords)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}
