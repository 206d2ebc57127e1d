// The samples of docs/frontends.md, as they stand there: a server is killed under each, others write on, and it ends with
// exactly what the database has.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { transformWithOxc } from "vite";
import WebSocket from "ws";
import { Server, save, until, whole } from "./support.mjs";

// Every browser has it, Node.js since 22.
globalThis.WebSocket ??= WebSocket;

/** Writes what the page shows, and the module that it tells of, into a folder where the packages are found. */
async function samples(run) {
  const folder = await mkdtemp(fileURLToPath(new URL("../node_modules/.samples-", import.meta.url)));
  try {
    const page = await readFile(new URL("../../docs/frontends.md", import.meta.url), "utf8");
    for (const [, name, code] of page.matchAll(/^```js (\S+)\n(.*?)^```$/gms)) await writeFile(join(folder, name), code);
    const source = await readFile(new URL("../src/resume/resume.ts", import.meta.url), "utf8");
    await writeFile(join(folder, "resume.mjs"), (await transformWithOxc(source, "resume.ts")).code);
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

for (const name of ["apollo", "urql", "relay"]) {
  for (const userId of [`of-${name}`, null]) {
    test(
      `${name} follows ${userId ? "a user's list" : "everybody's"} over a server that is killed`,
      whole(() =>
        samples(async (folder) => {
          const { watchTasks } = await import(join(folder, `${name}.mjs`));
          const [first, writer] = [await Server.start(), await Server.start()];
          const task = (number, status) =>
            save(writer, { userId: `of-${name}`, taskId: `task-${number}`, step: 1, stepResult: { stepName: "work", status } });
          const kept = async () => {
            const query = "query($userId: ID) { tasks(userId: $userId, first: 500) { nodes { id position status } } }";
            return state((await writer.ask(query, { userId })).tasks.nodes);
          };
          await task(1, "RUNNING");
          let tasks = [];
          const stop = watchTasks(first.url(), userId, (now) => (tasks = now));
          const isSame = async () => JSON.stringify(state(tasks)) === JSON.stringify(await kept());
          try {
            await until(isSame, "the list");
            await task(2, "RUNNING");
            await until(isSame, "a live change");
            await first.end("SIGKILL");
            for (let number = 2; number < 12; number++) await task(number, number % 2 ? "COMPLETED" : "FAILED");
            assert.ok(!(await isSame()), "it cannot have heard of these");
            await Server.start(first.port);
            await until(isSame, "what was missed");
            await task(99, "RUNNING");
            await until(isSame, "live again");
          } finally {
            await stop();
          }
        }),
      ),
    );
  }
}

const state = (tasks) => tasks.map(({ id, position, status }) => `${id} ${position} ${status}`).sort();
