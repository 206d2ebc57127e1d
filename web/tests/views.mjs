// Every view, filled: axe finds nothing on it, in the light and in the dark. And that it is quick: the first paint, the size
// of what is loaded, the wheel over a hundred thousand tasks while fifty change in a second.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Server, live, open, save, until, whole } from "./support.mjs";

const SAVE_MANY = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
const STATUSES = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "TIMED_OUT", "RUNNING"];

/** 200 tasks of all six statuses; the last of them has a result, was cancelled, told, answered, and reported late. */
async function fill(server, userId) {
  const records = Array.from({ length: 200 }, (_, number) => ({
    userId,
    taskId: `view-${number}`,
    step: 1,
    stepResult: {
      stepName: "Read",
      status: STATUSES[number % STATUSES.length],
      message: "as it went",
      progress: 0.4,
      result: { rows: 3 },
      ...(number % 6 === 3 && { errorCode: "BAD_ROW", errorMessage: "row 7 has no address" }),
    },
    task: {
      name: `View ${number % 4}`,
      tags: ["views", `tag-${number % 3}`],
      totalSteps: STATUSES[number % STATUSES.length] === "COMPLETED" ? 1 : 3,
    },
  }));
  await server.ask(SAVE_MANY, { input: { records } });
  await cancel(server, userId, "view-5", "nobody answers yet");
  await cancel(server, userId, "view-199", "the wrong file");
  const late = { stepName: "Write", status: "RUNNING", result: { list: [1, { two: "3" }] } };
  assert.ok((await save(server, { userId, taskId: "view-199", step: 2, stepResult: late })).cancellationRequested);
  await server.ask(
    'mutation($userId: ID) { acknowledgeCancellation(input: { userId: $userId, taskId: "view-199", outcome: STOPPED }) { outcome } }',
    { userId },
  );
}

const cancel = (server, userId, taskId, reason) =>
  server.ask("mutation($input: CancelTaskInput!) { cancelTask(input: $input) { outcome } }", {
    input: { userId, taskId, reason },
  });

for (const scheme of ["light", "dark"]) {
  test(
    `every view is accessible, ${scheme}`,
    whole(async () => {
      const server = await Server.start();
      const user = `vera-${scheme}`;
      await fill(server, user);
      const looked = async (page, name) => {
        await page.visit.picture(`${name}-${scheme}`);
        await page.visit.assertAccessible();
      };
      const list = await open(server, `/?user=${user}`, { scheme });
      await live(list);
      await list.getByText("200 tasks").waitFor();
      await looked(list, "list");
      await list.getByRole("button", { name: "Cancel these" }).click();
      await list.getByText("unfinished tasks").waitFor();
      await looked(list, "bulk-cancel");
      list.quiet();

      const task = await open(server, `/tasks/${user}/view-199`, { scheme });
      await task.locator(".entry-late").first().waitFor();
      await task.getByText("The worker has stopped").waitFor();
      await task.getByRole("button", { name: "Show the result" }).last().click();
      await looked(task, "task");
      task.quiet();

      const running = await open(server, `/tasks/${user}/view-1`, { scheme });
      await running.getByRole("button", { name: "Cancel …" }).click();
      await running.getByRole("heading", { name: "Cancel this task" }).waitFor();
      await looked(running, "cancel");
      running.quiet();

      const overview = await open(server, "/overview", { scheme });
      await overview.getByRole("heading", { name: /Durations/ }).waitFor();
      await overview.getByRole("heading", { name: /^Server/ }).waitFor();
      await overview.getByText("BAD_ROW").first().waitFor();
      await looked(overview, "overview");
      overview.quiet();

      const phone = await open(server, `/?user=${user}`, { scheme, width: 390, height: 800 });
      await live(phone);
      await phone.locator(".table-body .row").first().waitFor();
      await looked(phone, "phone");
      assert.ok(
        await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        "it is too wide for a phone",
      );
      phone.quiet();

      const nowhere = await open(server, `/?user=${user}&id=nothing`, { scheme });
      await nowhere.getByText("No task is in this filter").waitFor();
      await looked(nowhere, "empty");
      nowhere.quiet();
    }),
  );
}

test(
  "the first paint is soon, and the bundle is small",
  whole(async () => {
    const server = await Server.start();
    const page = await open(server, "/");
    await live(page);
    const painted = () => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    await until(async () => (await painted()) !== undefined, "the first paint");
    // What else the machine does is not the page's: the best of three.
    for (let again = 0; again < 2 && (await painted()) >= 1000; again++) {
      await page.reload();
      await live(page);
      await until(async () => (await painted()) !== undefined, "the first paint");
    }
    assert.ok((await painted()) < 1000, `first paint after ${await painted()} ms`);
    const loaded = await page.evaluate(() =>
      performance.getEntriesByType("resource").map(({ name }) => new URL(name).pathname),
    );
    const assets = new URL("../dist/assets/", import.meta.url);
    const names = readdirSync(assets).filter((name) => loaded.includes(`/assets/${name}`));
    const bytes = names.reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, assets))).length, 0);
    assert.ok(names.length >= 2 && bytes < 250_000, `${bytes} bytes of ${names}`);
    console.log(`first paint ${Math.round(await painted())} ms, bundle ${bytes} bytes`);
    page.quiet();
  }),
);

test(
  "the wheel runs smoothly over a hundred thousand tasks, fifty of which change in a second",
  whole(async () => {
    const server = await Server.start();
    for (let from = 0; from < 100_000; from += 10_000) {
      const records = Array.from({ length: 10_000 }, (_, number) => ({
        userId: "max",
        taskId: `task-${from + number}`,
        step: 1,
        stepResult: { stepName: "work", status: "RUNNING", message: "it goes on", progress: 0.1 },
        task: { name: "Much to do", totalSteps: 3 },
      }));
      await server.ask(SAVE_MANY, { input: { records } });
    }
    const page = await open(server, "/?user=max");
    await live(page);
    await page.getByRole("table", { name: "Tasks" }).hover();
    await page.evaluate(() => {
      const seen = { frames: [], tasks: [], nodes: 0 };
      globalThis.seen = seen;
      new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({
        type: "longtask",
      });
      let last = performance.now();
      const frame = (now) => {
        seen.frames.push(now - last);
        last = now;
        seen.nodes = Math.max(seen.nodes, document.querySelectorAll(".table *").length);
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    let changed = 0;
    let isOver = false;
    const changing = (async () => {
      for (let turn = 0; !isOver; turn++) {
        // Fifty a second, in the rows that are at the top, where they are seen.
        const records = Array.from({ length: 5 }, (_, number) => ({
          userId: "max",
          taskId: `task-${99_999 - ((turn * 5 + number) % 500)}`,
          step: 2,
          stepResult: { stepName: "more", status: "RUNNING", message: `change ${turn}`, progress: Math.random() },
        }));
        const began = Date.now();
        await server.ask(SAVE_MANY, { input: { records } });
        changed += records.length;
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, 100 - (Date.now() - began))));
      }
    })();
    const table = page.getByRole("table", { name: "Tasks" });
    const scroll = async () => {
      await page.evaluate(() => Object.assign(globalThis.seen, { frames: [], tasks: [] }));
      const [from, before] = [await table.evaluate((element) => element.scrollTop), changed];
      const end = Date.now() + 5000;
      while (Date.now() < end) await page.mouse.wheel(0, 240);
      const seen = await page.evaluate(() => globalThis.seen);
      const scrolled = (await table.evaluate((element) => element.scrollTop)) - from;
      const p95 = seen.frames.sort((a, b) => a - b)[Math.floor(seen.frames.length * 0.95)];
      const longest = Math.max(0, ...seen.tasks);
      console.log(
        `scrolled ${Math.round(scrolled)} px, ${changed - before} changes, ${seen.frames.length} frames, ` +
          `p95 ${p95.toFixed(1)} ms, longest task ${Math.round(longest)} ms, ${seen.nodes} nodes`,
      );
      assert.ok(scrolled > 5000 && changed - before > 100, "it was not much of a test");
      return { p95, longest, nodes: seen.nodes };
    };
    // What else the machine does is not the page's: the best of three.
    let seen = await scroll();
    for (let again = 0; again < 2 && (seen.longest > 100 || seen.p95 > 33.4); again++) seen = await scroll();
    isOver = true;
    await changing;
    assert.ok(seen.nodes < 2000, `${seen.nodes} nodes`);
    assert.ok(seen.longest <= 100, `a task of ${seen.longest} ms`);
    assert.ok(seen.p95 <= 33.4, `p95 of the frames ${seen.p95} ms`);
    page.quiet();
  }),
);
