// The list, live: a server that is killed under it, the filter, what is announced, pausing, cancelling many.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AWAY,
  REFUSED,
  Server,
  demo,
  kept,
  live,
  open,
  save,
  showsAll,
  shown,
  signIn,
  token,
  until,
  whole,
} from "./support.mjs";

const SECRET = { TASKWIRE_JWT_SECRET: "a secret of the tests, longer than 32 bytes" };

/** High enough for every row. */
const HIGH = { height: 6000 };

async function survives({ path, options, env, pasted, worker }) {
  const [first, writer] = [await Server.start(undefined, env), await Server.start(undefined, env)];
  await demo(writer, { token: worker });
  const page = await open(first, path, { ...HIGH, expected: pasted ? [AWAY, REFUSED] : [AWAY] });
  if (pasted) await signIn(page, pasted);
  await live(page);
  await showsAll(page, writer, options);

  // It is killed while the demo plays on through another server.
  const playing = demo(writer, { seed: 8, seconds: 4, token: worker });
  await until(async () => (await kept(writer, options)).length > 0, "tasks");
  const before = await shown(page);
  await until(async () => JSON.stringify(await shown(page)) !== JSON.stringify(before), "a live change");
  await first.end("SIGKILL");
  await page.getByText("Disconnected").waitFor();
  await page.visit.picture("disconnected");
  await page.visit.assertAccessible();
  const missed = JSON.stringify(await kept(writer, options));
  await until(async () => JSON.stringify(await kept(writer, options)) !== missed, "changes that nobody can have told");
  await Server.start(first.port, env);
  await page.getByText(/Up to date again: caught up with \d+ change/).waitFor();
  await playing;
  const count = await showsAll(page, writer, options);
  assert.ok(count > 0);

  // And live again.
  await save(
    writer,
    { userId: "demo-anna", taskId: "after", step: 1, stepResult: { stepName: "go", status: "RUNNING" } },
    worker,
  );
  await showsAll(page, writer, options);
  page.quiet();
}

test(
  "an admin's list catches up with a server that was killed",
  whole(() => survives({ path: "/" })),
);

test(
  "a user's list catches up with a server that was killed",
  whole(() =>
    survives({
      path: "/",
      env: SECRET,
      pasted: token("demo-anna", "1h", SECRET),
      worker: token("worker", "1h", SECRET, "worker"),
      options: { userId: "demo-anna", token: token("admin", "1h", SECRET, "admin") },
    }),
  ),
);

test(
  "a filter stays in the address, and rows leave with it",
  whole(async () => {
    const server = await Server.start();
    const task = (taskId, status) =>
      save(server, {
        userId: "fay",
        taskId,
        step: 1,
        stepResult: { stepName: "work", status },
        task: { name: `Task ${taskId}` },
      });
    await task("one", "RUNNING");
    await task("two", "FAILED");
    const page = await open(server, "/?user=fay", HIGH);
    await live(page);
    assert.equal((await shown(page)).length, 2);
    await page.getByLabel("Running").check();
    await until(async () => (await shown(page)).length === 1, "the filter");
    assert.equal(new URL(page.url()).search, "?user=fay&status=RUNNING");
    await page.reload();
    await live(page);
    await showsAll(page, server, { userId: "fay", filter: { statuses: ["RUNNING"] } });

    // It leaves when it ends; another comes in.
    await task("one", "COMPLETED");
    await page.getByText("No task is in this filter").waitFor();
    await task("three", "RUNNING");
    await showsAll(page, server, { userId: "fay", filter: { statuses: ["RUNNING"] } });

    await page.getByLabel("Id begins with").fill("thr");
    await until(() => page.url().includes("id=thr"), "the id in the address");
    await page.getByRole("button", { name: "Clear all" }).click();
    await showsAll(page, server, {});
    page.quiet();
  }),
);

test(
  "what is new announces itself to who reads, and a paused list stands still",
  whole(async () => {
    const server = await Server.start();
    const task = (taskId, status = "RUNNING") =>
      save(server, { userId: "pam", taskId, step: 1, stepResult: { stepName: "work", status } });
    for (let number = 0; number < 30; number++) await task(`task-${number}`);
    const page = await open(server, "/?user=pam");
    await live(page);
    const table = page.getByRole("table", { name: "Tasks" });
    await table.hover();
    await page.mouse.wheel(0, 300);
    await until(() => table.evaluate((element) => element.scrollTop > 250), "the scrolling");
    const top = () =>
      table.evaluate(
        (element) =>
          document.elementFromPoint(40, element.getBoundingClientRect().top + 60).closest(".row").dataset.task,
      );
    const before = await top();
    await task("new-1");
    await task("new-2");
    await page.getByRole("button", { name: "2 new tasks" }).waitFor();
    assert.equal(await top(), before);
    await page.getByRole("button", { name: "2 new tasks" }).click();
    await until(async () => (await shown(page))[0].startsWith("new-2"), "the new ones at the top");

    await page.getByRole("button", { name: "Pause" }).click();
    await task("new-2", "FAILED");
    await page.getByText("1 task changed meanwhile").waitFor();
    assert.match((await shown(page))[0], /^new-2 .* Running$/);
    await page.getByRole("button", { name: "Go on" }).click();
    await until(async () => /^new-2 .* Failed$/.test((await shown(page))[0]), "what was held");
    page.quiet();
  }),
);

test(
  "many are cancelled after a dry run that says how many",
  whole(async () => {
    const server = await Server.start();
    const task = (taskId, name) =>
      save(server, {
        userId: "bea",
        taskId,
        step: 1,
        stepResult: { stepName: "work", status: "RUNNING" },
        task: { name },
      });
    for (let number = 0; number < 5; number++) await task(`a-${number}`, "Import");
    await task("other", "Export");
    const page = await open(server, "/?user=bea&id=a-", HIGH);
    await live(page);
    await page.getByRole("button", { name: "Cancel these" }).click();
    await page.getByText("5 unfinished tasks").waitFor();
    assert.equal(
      (await kept(server, { userId: "bea", filter: { statuses: ["CANCELLED"] } })).length,
      0,
      "the dry run changes nothing",
    );
    await page.getByLabel("Reason").fill("the wrong file");
    await page.getByRole("button", { name: "Cancel 5" }).click();
    await page.getByText("5 tasks cancelled").waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    assert.equal((await kept(server, { userId: "bea", filter: { statuses: ["CANCELLED"] } })).length, 5);
    assert.equal((await kept(server, { userId: "bea", filter: { statuses: ["RUNNING"] } })).length, 1);
    await showsAll(page, server, { userId: "bea", filter: { taskIdPrefix: "a-" } });
    page.quiet();
  }),
);
