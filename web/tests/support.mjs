// What the dashboard's tests share: servers that are killed and replaced, visits (visit.mjs), the list as it is shown and as
// it is in the database. The tests of one file share a database: each has its own users.
//
// To add a test: a `test(...)` in one of the .mjs files here; a new file needs its line in tests/browser/main.rs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, endServers, token } from "../../tests/clients/resume.mjs";
import { Visit, openBrowser } from "./visit.mjs";

export { Server, token };

const PROGRAM = process.env.TASKWIRE ?? "../target/debug/taskwire";

/** What the browser itself says while the server is away, or of an answer 401; asked for by those tests alone. */
export const AWAY = /WebSocket connection to .* failed|net::ERR_|status of 50[234]/;
export const REFUSED = /status of 401/;

/** Waits until it is so; what asks may be asynchronous. */
export async function until(isSo, what, patience = 20_000) {
  const end = Date.now() + patience;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await sleep(20);
  }
}

let browser;

/** Runs a test with its own servers, and ends them and the browser after it, however it ended. */
export const whole = (run) => async () => {
  try {
    await run();
  } finally {
    await browser?.close();
    browser = undefined;
    await endServers();
  }
};

/** A visit's page, in a zone that is not UTC. `page.quiet()` at the end: nothing went wrong but what was `expected`. */
export async function open(
  server,
  path = "/",
  { scheme = "light", width = 1280, height = 900, expected = [], ...rest } = {},
) {
  browser ??= await openBrowser();
  const viewport = { width, height };
  const visit = await Visit.open(browser, server, path, {
    colorScheme: scheme,
    viewport,
    timezoneId: "Asia/Tokyo",
    ...rest,
  });
  visit.page.visit = visit;
  visit.page.quiet = () => {
    visit.problems = visit.problems.filter((problem) => !expected.some((pattern) => pattern.test(problem)));
    visit.assertClean();
  };
  return visit.page;
}

/** Waits until the stream is live. */
export const live = (page) => page.locator('[data-live="live"]').waitFor({ state: "attached" });

/** Pastes a token. */
export async function signIn(page, text) {
  await page.getByLabel("Token").fill(text);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** `taskwire demo`, until it ends by itself. */
export async function demo(server, { seed = 7, rate = 40, seconds = 2, token } = {}) {
  const options = ["demo", "--url", server.url(), "--seed", seed, "--rate", rate, "--seconds", seconds].map(String);
  const env = { ...process.env, ...(token && { TASKWIRE_DEMO_TOKEN: token }) };
  const playing = spawn(PROGRAM, options, { stdio: "ignore", env });
  const [code] = await once(playing, "exit");
  assert.equal(code, 0, "the demo did not end well");
}

export async function save(server, input, token) {
  const query = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { cancellationRequested } }";
  return (await server.ask(query, { input }, token)).saveTaskHistory;
}

const NAMES = {
  PENDING: "Pending",
  RUNNING: "Running",
  COMPLETED: "Completed",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
  TIMED_OUT: "Timed out",
};

/** The list as the database has it: newest first, as the page shows it. */
export async function kept(server, { userId, filter, token } = {}) {
  const query = `query($userId: ID, $filter: TaskFilter, $after: String) {
    tasks(userId: $userId, filter: $filter, orderBy: CREATED_DESC, first: 500, after: $after) {
      nodes { taskId position status } pageInfo { hasNextPage endCursor } } }`;
  const rows = [];
  for (let after = null; ;) {
    const { tasks } = await server.ask(query, { userId, filter, after }, token);
    rows.push(...tasks.nodes.map((task) => `${task.taskId} #${task.position} ${NAMES[task.status]}`));
    if (!tasks.pageInfo.hasNextPage) return rows;
    after = tasks.pageInfo.endCursor;
  }
}

/** The list as it is shown. All of it is in sight where the window is high enough. */
export const shown = (page) =>
  page
    .locator(".table-body .row")
    .evaluateAll((rows) =>
      rows
        .sort(
          (a, b) => Number(a.ariaRowIndex ?? a.getAttribute("aria-rowindex")) - Number(b.getAttribute("aria-rowindex")),
        )
        .map((row) => `${row.dataset.task} #${row.dataset.position} ${row.querySelector(".status").textContent}`),
    );

/** Waits until the page shows exactly what the database has. */
export async function showsAll(page, server, options) {
  let [have, want] = [[], []];
  const end = Date.now() + 30_000;
  do {
    const announced = page.locator(".new-tasks button");
    if (await announced.count()) await announced.click({ timeout: 1000 }).catch(() => {});
    [want, have] = [await kept(server, options), await shown(page)];
  } while (JSON.stringify(have) !== JSON.stringify(want) && Date.now() < end);
  assert.deepEqual(have, want);
  return have.length;
}
