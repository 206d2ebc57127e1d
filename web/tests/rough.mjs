// What goes wrong on the way: connections that are only half there, answers that fail or come late, a server that gives
// little at a time, a browser that may not do everything. The pages say so, and go on.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AWAY, Server, live, open, save, until, whole } from "./support.mjs";

const report = (server, taskId, step = 1, status = "RUNNING", more = {}) =>
  save(server, {
    userId: "rosa",
    taskId,
    step,
    stepResult: { stepName: `step ${step}`, status, ...more },
    task: { name: "Rough", totalSteps: 40 },
  });

/** From the next load on, a page's sockets come through here, and are as `handle` leaves them. */
async function sockets(page, handle) {
  const seen = [];
  await page.routeWebSocket(/\/graphql$/, (client) => {
    const socket = { client, isDead: false };
    seen.push(socket);
    if (handle?.(socket, seen.length) === false) return;
    const server = client.connectToServer();
    client.onMessage((message) => socket.isDead || server.send(message));
    server.onMessage((message) => socket.isDead || client.send(message));
  });
  await page.reload();
  return seen;
}

/** The requests that ask for this operation go by `handle` from now on. */
const answers = (page, operation, handle) =>
  page.route("**/graphql", (route) =>
    route.request().postDataJSON()?.operationName === operation ? handle(route) : route.fallback(),
  );

test(
  "a socket that is only half there is noticed, and so is one that never gets ready",
  whole(async () => {
    const server = await Server.start();
    await report(server, "half");
    const page = await open(server, "/tasks/rosa/half");
    const seen = await sockets(page, (socket, number) => {
      // The second one is dead from the beginning.
      socket.isDead = number === 2;
    });
    await live(page);
    await page.getByTestId("status").getByText("Running").waitFor();
    assert.equal(seen.length, 1);
    seen[0].isDead = true;
    // A ping is not answered, then the next socket's beginning is not.
    await until(() => seen.length === 3, "a third socket", 40_000);
    await live(page);
    await report(server, "half", 1, "FAILED");
    await page.getByTestId("status").getByText("Failed").waitFor();
    page.quiet();
  }),
);

test(
  "a browser that is online again tries at once",
  whole(async () => {
    const server = await Server.start();
    await report(server, "online");
    const visit = async (page, path) => {
      let isAway = false;
      const seen = await sockets(page, ({ client }) => {
        if (isAway) void client.close({ code: 1011, reason: "away" });
        return !isAway;
      });
      await live(page);
      isAway = true;
      await seen[0].client.close({ code: 1011, reason: "away" });
      // It waits for longer each time.
      await page.getByText(/Trying again in [4-9] s/).waitFor({ timeout: 60_000 });
      const [before, began] = [seen.length, Date.now()];
      await page.evaluate(() => window.dispatchEvent(new Event("online")));
      await until(() => seen.length > before, `another try of ${path}`);
      assert.ok(Date.now() - began < 2_500, `${path} has tried after ${Date.now() - began} ms`);
      page.quiet();
    };
    const paths = ["/?user=rosa", "/tasks/rosa/online", "/"];
    const pages = [];
    for (const path of paths) pages.push(await open(server, path));
    await Promise.all(pages.map((page, index) => visit(page, paths[index])));
  }),
);

test(
  "a server that gives five at a time is asked for five at a time",
  whole(async () => {
    const server = await Server.start(undefined, { TASKWIRE_MAX_PAGE_SIZE: "5" });
    for (let step = 1; step <= 12; step++) await report(server, "little", step, "COMPLETED");
    for (let number = 1; number <= 7; number++) {
      await report(server, `little-${number}`, 1, "FAILED", { errorCode: "TOO_LITTLE" });
    }
    const task = await open(server, "/tasks/rosa/little");
    await live(task);
    const [steps, entries] = [task.locator(".steps > li"), task.locator(".history .entry")];
    const earlier = async (locator, button, counts) => {
      for (const count of counts) {
        await until(async () => (await locator.count()) === count, `${count} of ${button}`);
        if (count < 12) await task.getByRole("button", { name: button }).click();
      }
    };
    await earlier(steps, "Earlier steps", [5, 10, 12]);
    await earlier(entries, "Older records", [5, 10, 12]);

    const list = await open(server, "/?user=rosa&id=little");
    await live(list);
    await until(async () => (await list.locator(".table-body .row").count()) === 8, "all tasks");
    await until(async () => (await list.getByLabel("Error").locator("option").count()) >= 2, "the errors' menu");
    await until(async () => (await list.locator("#users option").count()) >= 1, "the users");

    const overview = await open(server, "/overview");
    await overview.getByRole("heading", { name: /^Server/ }).waitFor();
    await until(async () => (await overview.locator(".failure-list li").count()) === 5, "the failures");
    for (const page of [task, list, overview]) {
      assert.deepEqual(await page.locator(".problem").allTextContents(), []);
      page.quiet();
    }
  }),
);

test(
  "what is asked for anew is never shown as what was asked for before, and what fails is told",
  whole(async () => {
    const server = await Server.start();
    await report(server, "told", 1, "FAILED");
    const page = await open(server, "/overview", { expected: [AWAY] });
    await page.locator(".chart").waitFor();
    let answer;
    await answers(page, "Statistics", (route) => (answer = () => route.continue()));
    await page.getByLabel("Window").selectOption("Last 30 days");
    await until(() => answer !== undefined, "the question");
    // The answer is still on its way.
    assert.equal(await page.locator(".chart").count(), 0);
    await answers(page, "Statistics", (route) => route.fallback());
    await answer();
    await page.getByRole("heading", { name: "Finished per day" }).waitFor();
    // Days of UTC, read in Tokyo.
    for (const label of await page.locator(".chart-labels span").allTextContents()) assert.match(label, /09:00/);
    assert.equal(await page.locator(".problem").count(), 0);

    for (const operation of ["Statistics", "System", "Failures"]) await answers(page, operation, (route) => route.abort());
    await until(async () => (await page.getByText("What is shown may be out of date").count()) === 3, "three problems");
    await page.unrouteAll();
    await until(async () => (await page.locator(".problem").count()) === 0, "none any more");
    assert.ok(await page.locator(".chart").isVisible());

    // Another window that cannot be read: no data, and why.
    await answers(page, "Statistics", (route) => route.abort());
    await page.getByLabel("Window").selectOption("Last hour");
    await page.locator(".statistics-reading .problem").waitFor();
    assert.equal(await page.locator(".chart").count(), 0);
    await page.unrouteAll();

    const list = await open(server, "/overview", { expected: [AWAY] });
    await answers(list, "Facets", (route) => route.abort());
    await list.getByRole("link", { name: "Tasks" }).click();
    await list.locator(".filters .problem").waitFor();
    page.quiet();
    list.quiet();
  }),
);

test(
  "by plain http from another machine, where a browser has no clipboard, it copies all the same",
  whole(async () => {
    const server = await Server.start();
    await report(server, "copied-id");
    const page = await open(server, "/tasks/rosa/copied-id");
    await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "clipboard", { get: () => undefined }));
    await page.reload();
    await page.getByRole("button", { name: "Copy the id" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    await page.getByRole("button", { name: "Cancel …" }).click();
    await page.getByLabel("Reason").focus();
    await page.keyboard.press("Control+V");
    await until(async () => (await page.getByLabel("Reason").inputValue()) === "copied-id", "what was copied");
    page.quiet();
  }),
);
