// PostGraphile 5 over the old table, by its Amber preset in production mode, with its subscriptions. Arguments: the folder
// of PostgreSQL's socket, and the database. It says in a line of JSON where it listens.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const [socket, database] = process.argv.slice(2);
const pool = new pg.Pool({ host: socket, user: "taskwire", database, max: 20 });
const preset = {
  extends: [PostGraphileAmberPreset],
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
