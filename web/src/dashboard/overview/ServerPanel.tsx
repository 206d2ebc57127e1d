// For admins: the servers, the pool, the feed, what is stored, slow queries. What cannot be told is left out.

import type { ReactNode } from "react";
import { SlowQueriesDocument, SystemDocument } from "../../gql/operations";
import { count, milliseconds } from "../parts/format";
import { Time } from "../parts/Time";
import { useRead } from "../parts/useRead";
import { Storage } from "./Storage";

const EVERY_MS = 5_000;
const SLOW_MS = 30_000;

export function ServerPanel() {
  const { data, problem } = useRead(SystemDocument, {}, EVERY_MS);
  const system = data?.system;
  if (problem && !system) {
    return problem.code === "GRAPHQL_VALIDATION_FAILED" ? null : <p className="problem">{problem.message}</p>;
  }
  if (!system) return null;
  const { connectionPool: pool, feed, health, database } = system;
  const latency = feed.deliveryLatencyMs;
  return (
    <section aria-labelledby="server">
      <h2 id="server">
        Server <span className="hint">{system.version}</span>
      </h2>
      <dl className="facts card">
        <Fact name="Health" value={<Health state={health.state} />} more={health.detail ?? undefined} />
        <Fact
          name="Database"
          value={health.roundTripMs == null ? "–" : milliseconds(health.roundTripMs)}
          more={`${count(database.queries)} queries, ${count(database.failedQueries)} failed`}
        />
        <Fact
          name="Queries"
          value={database.queryMs ? `p99 ${milliseconds(database.queryMs.p99)}` : "–"}
          more={database.queryMs ? `p50 ${milliseconds(database.queryMs.p50)}` : undefined}
        />
        <Fact
          name="Pool"
          value={`${pool.active} of ${pool.maxSize} in use`}
          more={`${pool.idle} idle, ${pool.waiting} waiting`}
        />
        <Fact
          name="Feed latency"
          value={latency ? `p99 ${milliseconds(latency.p99)}` : "–"}
          more={
            feed.listenerConnected
              ? `${count(feed.recoveredByCheck)} found by the check`
              : "The listener is not connected"
          }
        />
        <Fact
          name="Live"
          value={`${count(feed.subscriptions)} subscriptions`}
          more={`${count(feed.connections)} connections`}
        />
      </dl>
      {system.servers && (
        <div className="card scrolls" tabIndex={0} role="region" aria-label="Servers">
          <table>
            <caption>Servers</caption>
            <thead>
              <tr>
                <th scope="col">Server</th>
                <th scope="col">State</th>
                <th scope="col">Version</th>
                <th scope="col" className="number">
                  Connections
                </th>
                <th scope="col">Started</th>
                <th scope="col">Seen</th>
              </tr>
            </thead>
            <tbody>
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
            </tbody>
          </table>
        </div>
      )}
      <Storage storage={system.storage} retention={system.retention} />
      <SlowQueries />
    </section>
  );
}

function Fact({ name, value, more }: { name: string; value: ReactNode; more?: string | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value}
        {more && <span className="hint">{more}</span>}
      </dd>
    </div>
  );
}

const Health = ({ state }: { state: string }) => (
  <span className={`health health-${state.toLowerCase()}`}>{state.charAt(0) + state.slice(1).toLowerCase()}</span>
);

function SlowQueries() {
  const { data } = useRead(SlowQueriesDocument, {}, SLOW_MS);
  const queries = data?.system?.slowQueries;
  // Without pg_stat_statements there is nothing to tell.
  if (!queries || queries.length === 0) return null;
  return (
    <div className="card scrolls" tabIndex={0} role="region" aria-label="Slow queries">
      <table>
        <caption>Slowest queries on average</caption>
        <thead>
          <tr>
            <th scope="col">Query</th>
            <th scope="col" className="number">
              Mean
            </th>
            <th scope="col" className="number">
              Calls
            </th>
            <th scope="col" className="number">
              Total
            </th>
            <th scope="col" className="number">
              Rows
            </th>
          </tr>
        </thead>
        <tbody>
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
        </tbody>
      </table>
    </div>
  );
}
