// For admins: the servers, the pool, the feed, what is stored, slow queries. What cannot be told is left out.

import { SlowQueriesDocument, SystemDocument } from "../../gql/operations";
import { Fact } from "../parts/Fact";
import { count, counted, milliseconds } from "../parts/format";
import { ReadProblem } from "../parts/Problem";
import { ScrollTable } from "../parts/ScrollTable";
import { Time } from "../parts/Time";
import { useRead } from "../parts/useRead";
import { atMost, useSession } from "../session/Session";
import { Storage } from "./Storage";

const EVERY_MS = 5_000;
const SLOW_MS = 30_000;
const SLOW_QUERIES = 10;

export function ServerPanel() {
  const read = useRead(SystemDocument, {}, { everyMs: EVERY_MS });
  const system = read.data?.system;
  if (read.problem?.isUnknownField) return null;
  if (!system) return <ReadProblem of={read} />;
  const { connectionPool: pool, feed, health, database } = system;
  const latency = feed.deliveryLatencyMs;
  return (
    <section aria-labelledby="server">
      <h2 id="server">
        Server <span className="hint">{system.version}</span>
      </h2>
      <ReadProblem of={read} />
      <dl className="facts card">
        <Fact name="Health" more={health.detail}>
          <Health state={health.state} />
        </Fact>
        <Fact
          name="Database"
          more={`${counted(database.queries, "query", "queries")}, ${count(database.failedQueries)} failed`}
        >
          {health.roundTripMs == null ? "–" : milliseconds(health.roundTripMs)}
        </Fact>
        <Fact name="Queries" more={database.queryMs && `p50 ${milliseconds(database.queryMs.p50)}`}>
          {database.queryMs ? `p99 ${milliseconds(database.queryMs.p99)}` : "–"}
        </Fact>
        <Fact name="Pool" more={`${pool.idle} idle, ${pool.waiting} waiting`}>
          {pool.active} of {pool.maxSize} in use
        </Fact>
        <Fact
          name="Feed latency"
          more={
            feed.listenerConnected
              ? `${count(feed.recoveredByCheck)} found by the check`
              : "The listener is not connected"
          }
        >
          {latency ? `p99 ${milliseconds(latency.p99)}` : "–"}
        </Fact>
        <Fact name="Live" more={counted(feed.connections, "connection")}>
          {counted(feed.subscriptions, "subscription")}
        </Fact>
      </dl>
      {system.servers && (
        <ScrollTable
          label="Servers"
          caption="Servers"
          columns={["Server", "State", "Version", ["Connections", "number"], "Started", "Seen"]}
        >
          {system.servers.map((server) => (
            <tr key={server.serverId}>
              <th scope="row">{server.serverId}</th>
              <td>
                <Health state={server.state} />
              </td>
              <td>{server.version}</td>
              <td className="number">{count(server.connections)}</td>
              <td>
                <Time at={server.startedAt} />
              </td>
              <td>
                <Time at={server.seenAt} />
              </td>
            </tr>
          ))}
        </ScrollTable>
      )}
      <Storage storage={system.storage} retention={system.retention} />
      <SlowQueries />
    </section>
  );
}

const Health = ({ state }: { state: string }) => (
  <span className={`health health-${state.toLowerCase()}`}>{state.charAt(0) + state.slice(1).toLowerCase()}</span>
);

function SlowQueries() {
  const { viewer } = useSession();
  const read = useRead(SlowQueriesDocument, { first: atMost(SLOW_QUERIES, viewer) }, { everyMs: SLOW_MS });
  const queries = read.data?.system?.slowQueries;
  // Without pg_stat_statements there is nothing to tell.
  if (!queries || queries.length === 0) return <ReadProblem of={read} />;
  return (
    <>
      <ReadProblem of={read} />
      <ScrollTable
        label="Slow queries"
        caption="Slowest queries on average"
        columns={["Query", ["Mean", "number"], ["Calls", "number"], ["Total", "number"], ["Rows", "number"]]}
      >
        {queries.map((query) => (
          <tr key={query.query}>
            <td>
              <code className="query">{query.query}</code>
            </td>
            <td className="number">{milliseconds(query.meanMs)}</td>
            <td className="number">{count(query.calls)}</td>
            <td className="number">{milliseconds(query.totalMs)}</td>
            <td className="number">{count(query.rows)}</td>
          </tr>
        ))}
      </ScrollTable>
    </>
  );
}
