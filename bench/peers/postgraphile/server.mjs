// PostGraphile 5 over the old table, by its Amber preset in production mode, with a subscription to a user's new rows as
// its documentation advises. Arguments: the folder of PostgreSQL's socket, and the database. It says in a line of JSON
// where it listens.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { jsonParse } from "postgraphile/@dataplan/json";
import { makePgService } from "postgraphile/adaptors/pg";
import { context, get, lambda, listen } from "postgraphile/grafast";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { extendSchema, gql } from "postgraphile/utils";

const [socket, database] = process.argv.slice(2);
const pool = new pg.Pool({ host: socket, user: "taskwire", database, max: 20 });

// A trigger notifies `task_history:USER` of the new row's id; the row is read by it.
const subscriptions = extendSchema((build) => {
  const { task_history: history } = build.pgResources;
  return {
    typeDefs: gql`
      extend type Subscription {
        taskHistoryAdded(userId: String!): TaskHistoryAdded
      }
      type TaskHistoryAdded {
        taskHistory: TaskHistory
      }
    `,
    objects: {
      Subscription: {
        plans: {
          taskHistoryAdded: {
            subscribePlan(_, { $userId }) {
              const $topic = lambda($userId, (user) => `task_history:${user}`);
              return listen(context().get("pgSubscriber"), $topic, jsonParse);
            },
            plan: ($event) => $event,
          },
        },
      },
      TaskHistoryAdded: {
        plans: {
          taskHistory: ($event) => history.get({ id: get($event, "id") }),
        },
      },
    },
  };
});

const preset = {
  extends: [PostGraphileAmberPreset],
  plugins: [subscriptions],
  pgServices: [makePgService({ pool, schemas: ["public"], pubsub: true })],
  grafserv: { graphiql: false, websockets: true },
  grafast: { explain: false },
};

const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(0, "127.0.0.1", () => {
  const own = readFileSync(createRequire(import.meta.url).resolve("./package.json"), "utf8");
  const versions = { node: process.versions.node, postgraphile: JSON.parse(own).dependencies.postgraphile };
  console.log(JSON.stringify({ address: `127.0.0.1:${server.address().port}`, versions }));
});
