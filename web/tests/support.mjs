// What the browser tests share: servers that are killed and replaced, a browser whose every complaint fails the test, the
// list as it is shown and as it is in the database.
//
// To add a test: a `test(...)` in one of the .mjs files here; a new file needs its line in tests/it/browser.rs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { Server, endServers, token, until } from "../../tests/clients/resume.mjs";

export { Server, endServers, token, until };

const PROGRAM = process.env.TASKWIRE ?? "../target/debug/taskwire";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** What the browser itself says while the server is away, or of an answer 401; asked for by those tests alone. */
export const AWAY = /WebSocket connection to .* failed|net::ERR_|status of 50[24]/;
export const REFUSED = /status of 401/;

let browser;

/** Runs a test with its own servers, and ends them and the browser after it, however it ended. */
export const whole = (run) => async () => {
  try {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    await run();
  } finally {
    await browser?.close();
    await endServers();
  }
};

/**
 * A page in a browser of its own, and `complaints`, the console's errors and what the Content-Security-Policy refused,
 * which must stay empty (`quiet`).
 */
export async function open(server, path = "/", { scheme = "light", width = 1280, height = 900, expected } = {}) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, timezoneId: "Asia/Tokyo" });
  const page = await context.newPage();
  const complaints = [];
  const complain = (text) => expected?.test(text) || complaints.push(text);
  page.on("console", (message) => message.type() === "error" && complain(message.text()));
  page.on("pageerror", (error) => complain(String(error)));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  page.quiet = () => assert.deepEqual(complaints, []);
  await page.goto(`http://127.0.0.1:${server.port}${path}`);
  return page;
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

const NAMES = { PENDING: "Pending", RUNNING: "Running", COMPLETED: "Completed", FAILED: "Failed", CANCELLED: "Cancelled", TIMED_OUT: "Timed out" };

/** The list as the database has it: newest first, as the page shows it. */
export async function kept(server, { userId, filter, token } = {}) {
  const query = `query($userId: ID, $filter: TaskFilter, $after: String) {
    tasks(userId: $userId, filter: $filter, orderBy: CREATED_DESC, first: 500, after: $after) {
      nodes { taskId position status } pageInfo { hasNextPage endCursor } } }`;
  const rows = [];
  for (let after = null; ; ) {
    const { tasks } = await server.ask(query, { userId, filter, after }, token);
    rows.push(...tasks.nodes.map((task) => `${task.taskId} #${task.position} ${NAMES[task.status]}`));
    if (!tasks.pageInfo.hasNextPage) return rows;
    after = tasks.pageInfo.endCursor;
  }
}

/** The list as it is shown. All of it is in sight where the window is high enough. */
export const shown = (page) =>
  page.locator(".table-body .row").evaluateAll((rows) =>
    rows
      .sort((a, b) => Number(a.ariaRowIndex ?? a.getAttribute("aria-rowindex")) - Number(b.getAttribute("aria-rowindex")))
      .map((row) => `${row.dataset.task} #${row.dataset.position} ${row.querySelector(".status").textContent}`),
  );

/** Waits until the page shows exactly what the database has. */
export async function showsAll(page, server, options) {
  let [have, want] = [[], []];
  const end = Date.now() + 15_000;
  do {
    const announced = page.locator(".new-tasks button");
    if (await announced.count()) await announced.click({ timeout: 1000 }).catch(() => {});
    [want, have] = [await kept(server, options), await shown(page)];
  } while (JSON.stringify(have) !== JSON.stringify(want) && Date.now() < end);
  assert.deepEqual(have, want);
  return have.length;
}

