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
  await playing;
  const stale = new Set(await shown(page));
  const missed = (await kept(writer, options)).filter((row) => !stale.has(row)).length;
  assert.ok(missed > 1, "too little has changed that nobody can have told");
  await Server.start(first.port, env);
  await page.getByText(`Up to date again: caught up with ${missed} changes.`).waitFor();
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

    // A chip that is clicked before what was typed is in the filter stays.
    await page.getByLabel("Id begins with").evaluate(async (input) => {
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, "two");
      input.dispatchEvent(new Event("input", { bubbles: true }));
      await new Promise(requestAnimationFrame);
      for (const chip of document.querySelectorAll(".chip")) if (chip.textContent === "Failed") chip.click();
    });
    await until(() => page.url().includes("id=two"), "the id in the address");
    assert.equal(new URL(page.url()).search, "?status=FAILED&id=two");
    page.quiet();
  }),
);

test(
  "pages without a row are read on until there is one",
  whole(async () => {
    const server = await Server.start();
    for (let number = 0; number < 7; number++) {
      await save(server, { userId: "ned", taskId: `n-${number}`, step: 1, stepResult: { stepName: "work", status: "RUNNING" } });
    }
    const page = await open(server, "/?user=nobody", HIGH);
    // As a server of very many tasks answers a filter that few are in: by what a page holds, whoever asks how often.
    const asked = new Set();
    await page.route("**/graphql", async (route) => {
      const body = route.request().postDataJSON();
      if (body.operationName !== "TaskList" || body.variables.userId !== "ned") return route.continue();
      body.variables.first = 2;
      asked.add(body.variables.after ?? null);
      const response = await route.fetch({ postData: JSON.stringify(body) });
      const answer = await response.json();
      if (answer.data.tasks.nodes.some((task) => ["n-6", "n-4"].includes(task.taskId))) answer.data.tasks.nodes = [];
      await route.fulfill({ response, json: answer });
    });
    await page.goto(new URL("/?user=ned", server.url()).href);
    await until(async () => (await shown(page)).length === 3, "the rows of the further pages");
    assert.equal(asked.size, 4);
    await save(server, { userId: "ned", taskId: "n-7", step: 1, stepResult: { stepName: "work", status: "RUNNING" } });
    await until(async () => (await shown(page))[0].startsWith("n-7"), "what is live");
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
    const focused = () => page.evaluate(() => document.activeElement.className);
    await until(async () => (await focused()) === "new-tasks", "the focus, where its button was");

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

test(
  "a cancellation of many is stopped between two batches, and tells what it did before it failed",
  whole(async () => {
    const server = await Server.start();
    const task = (taskId) =>
      save(server, { userId: "cid", taskId, step: 1, stepResult: { stepName: "work", status: "RUNNING" } });
    for (let number = 0; number < 9; number++) await task(`c-${number}`);
    const page = await open(server, "/?user=cid", HIGH);
    await live(page);
    // Batches of two; each waits until it is let go on.
    const batches = [];
    await page.route("**/graphql", async (route) => {
      const body = route.request().postDataJSON();
      if (body.operationName !== "CancelTasks" || body.variables.input.dryRun) return route.continue();
      body.variables.input.limit = 2;
      const error = await new Promise((resolve) => batches.push(resolve));
      if (error) await route.fulfill({ json: { errors: [error] } });
      else await route.continue({ postData: JSON.stringify(body) });
    });
    const batch = async (number, error) => {
      await until(() => batches.length === number, `batch ${number}`);
      batches[number - 1](error);
    };
    const cancelled = async () =>
      (await kept(server, { userId: "cid", filter: { statuses: ["CANCELLED"] } })).length;
    const begin = async (count) => {
      await page.getByRole("button", { name: "Cancel these" }).click();
      await page.getByRole("button", { name: `Cancel ${count}` }).click();
    };

    await begin(9);
    await batch(1);
    await page.getByText("2 so far").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.role), "status");
    await until(() => batches.length === 2, "the second batch");
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopping").waitFor();
    await batch(2);
    await page.getByText("Stopped. 4 tasks cancelled").waitFor();
    assert.equal(await cancelled(), 4);
    await page.getByRole("button", { name: "Close" }).click();

    // Closed by Escape: what is in work is the last.
    await begin(5);
    await until(() => batches.length === 3, "the third batch");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await batch(3);
    await until(async () => (await cancelled()) === 6, "what was in work");
    await showsAll(page, server, { userId: "cid" });
    assert.equal(batches.length, 3);

    // It fails, and goes on.
    await begin(3);
    await batch(4);
    await batch(5, { message: "Try again later.", extensions: { code: "OVERLOADED" } });
    await page.getByText("2 tasks cancelled before that").waitFor();
    await page.getByRole("alert").getByText("Try again later.").waitFor();
    await page.getByRole("button", { name: "Go on" }).click();
    await batch(6);
    await page.getByText("3 tasks cancelled.").waitFor();
    assert.equal(await cancelled(), 9);
    page.quiet();
  }),
);

test(
  "where the count ends before it finds a task, one can go on",
  whole(async () => {
    const server = await Server.start();
    await save(server, { userId: "dan", taskId: "old", step: 1, stepResult: { stepName: "work", status: "RUNNING" } });
    const page = await open(server, "/?user=dan", HIGH);
    await live(page);
    // As a server of very many tasks answers.
    await page.route("**/graphql", async (route) => {
      const { operationName, variables } = route.request().postDataJSON();
      if (operationName !== "CancelTasks" || !variables.input.dryRun) return route.continue();
      const response = await route.fetch();
      const answer = await response.json();
      answer.data.cancelTasks.matched = { ...answer.data.cancelTasks.matched, value: 0, isExact: false };
      await route.fulfill({ response, json: answer });
    });
    await page.getByRole("button", { name: "Cancel these" }).click();
    await page.getByText("None of the latest tasks").waitFor();
    await page.visit.assertAccessible();
    await page.getByRole("button", { name: "Cancel what is older" }).click();
    await page.getByText("1 task cancelled").waitFor();
    page.quiet();
  }),
);
