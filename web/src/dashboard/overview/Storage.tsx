// What is stored, in which partitions, how it grows, and what is removed when.

import type { SystemQuery } from "../../gql/operations";
import { Fact } from "../parts/Fact";
import { bytes, count, counted } from "../parts/format";
import { ScrollTable } from "../parts/ScrollTable";
import { Time } from "../parts/Time";

type System = NonNullable<SystemQuery["system"]>;

/** The days and the partitions are those of UTC. */
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
        <Fact name="History" more={counted(storage.records, "record")}>
          {bytes(storage.historyBytes)}
        </Fact>
        <Fact name="Tasks" more={counted(storage.tasks, "task")}>
          {bytes(storage.taskBytes)}
        </Fact>
        {retention && (
          <Fact name="Kept for" more={<CleanUp retention={retention} />}>
            {retention.keepDays === 0 ? "ever" : counted(retention.keepDays, "day")}
          </Fact>
        )}
        {storage.recordsPerDay.length > 0 && (
          <Fact name="Records per day (UTC)" isWide>
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
          </Fact>
        )}
      </dl>
      {storage.partitions.length > 0 && (
        <ScrollTable
          label="Partitions"
          caption="Partitions of the history"
          columns={["Partition", "From (UTC)", "To (UTC)", ["Size", "number"], ["Records, about", "number"]]}
        >
          {storage.partitions.map((partition) => (
            <tr key={partition.name}>
              <th scope="row">{partition.name}</th>
              <td>{bound(partition.start)}</td>
              <td>{bound(partition.end)}</td>
              <td className="number">{bytes(partition.bytes)}</td>
              <td className="number">{count(partition.estimatedRecords)}</td>
            </tr>
          ))}
        </ScrollTable>
      )}
    </>
  );
}

function CleanUp({ retention }: { retention: NonNullable<System["retention"]> }) {
  const { lastRunAt, lastDeletedRecords, nextRunAt } = retention;
  return (
    <>
      {lastRunAt && (
        <>
          last clean-up: <Time at={lastRunAt} />
          {lastDeletedRecords != null && `, ${counted(lastDeletedRecords, "record")}`}
        </>
      )}
      {lastRunAt && nextRunAt && "; "}
      {nextRunAt && (
        <>
          next clean-up: <Time at={nextRunAt} />
        </>
      )}
    </>
  );
}
