// A task's page, and signing in: two browsers on one task, a cancellation as it happens, a token that expires.
import assert from "node:assert/strict";
import { test } from "node:test";
import { REFUSED, Server, live, open, save, signIn, token, until, whole } from "./support.mjs";

const SECRET = { TASKWIRE_JWT_SECRET: "a secret of the tests, longer than 32 bytes" };

test(
  "one browser cancels, the other sees it, and what becomes of it",
  whole(async () => {
    const server = await Server.start();
    const report = (step, status, result) =>
      save(server, {
        userId: "anna",
        taskId: "import/1",
        step,
        stepResult: { stepName: `step ${step}`, status, result },
        task: { name: "Import", totalSteps: 3 },
      });
    await report(1, "RUNNING");
    await report(1, "COMPLETED", { rows: [1, 2, { deep: "value" }] });
    await report(2, "RUNNING");
    const [one, other] = [await open(server, "/"), await open(server, "/tasks/anna/import%2F1")];
    await Promise.all([live(one), live(other)]);
    assert.equal(await other.locator(".history .entry").count(), 3);
    assert.equal(await other.locator(".timeline .bar").count(), 2);

    // From the list to the task, by the keyboard.
    await one.getByRole("link", { name: "Import" }).focus();
    await one.keyboard.press("Enter");
    await one.getByRole("button", { name: "Cancel …" }).click();
    await one.getByLabel("Reason").fill("the wrong file");
    await one.getByRole("button", { name: "Cancel the task" }).click();
    for (const page of [one, other]) {
      await page.getByTestId("status").getByText("Cancelled").waitFor();
      await page.locator(".cancellation").getByText("the wrong file").waitFor();
      await page.getByText("The worker has not answered yet").waitFor();
    }

    // The worker reports once more, is told, and stops.
    assert.equal((await report(2, "RUNNING")).cancellationRequested, true);
    await other.getByText("Told to a worker").waitFor();
    await other.locator(".entry-late").waitFor();
    const acknowledge = `mutation { acknowledgeCancellation(input: { userId: "anna", taskId: "import/1", outcome: STOPPED }) { outcome } }`;
    await server.ask(acknowledge);
    await other.getByText("The worker has stopped").waitFor();
    await until(async () => (await other.locator(".history .entry").count()) === 6, "every record, once");

    // The result folds.
    await other.getByRole("button", { name: "Show the result" }).click();
    await other.getByRole("group", { name: "Result of step 1" }).getByText("rows").waitFor();
    one.quiet();
    other.quiet();
  }),
);

test(
  "a task that is not there yet appears by itself",
  whole(async () => {
    const server = await Server.start();
    const page = await open(server, "/tasks/anna/later");
    await page.getByText("There is no such task").waitFor();
    await save(server, { userId: "anna", taskId: "later", step: 1, stepResult: { stepName: "go", status: "RUNNING" } });
    await page.getByTestId("status").getByText("Running").waitFor();
    page.quiet();
  }),
);

test(
  "a task of many steps shows the newest, and the earlier ones when they are asked for",
  whole(async () => {
    const server = await Server.start();
    const records = Array.from({ length: 520 }, (_, index) => ({
      userId: "anna",
      taskId: "long",
      step: index + 1,
      stepResult: { stepName: `part ${index + 1}`, status: index < 519 ? "COMPLETED" : "RUNNING" },
      task: { name: "Long", totalSteps: 600 },
    }));
    const query = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    await server.ask(query, { input: { records } });
    const page = await open(server, "/tasks/anna/long");
    await live(page);
    const steps = page.locator(".steps > li");
    await page.getByText("the last 500 steps").waitFor();
    assert.match(await steps.last().textContent(), /520 part 520/);
    assert.match(await steps.first().textContent(), /21 part 21/);
    await page.getByRole("button", { name: "Earlier steps" }).click();
    await until(async () => (await steps.count()) === 520, "all steps");
    assert.match(await steps.first().textContent(), /1 part 1/);
    assert.equal(await page.getByRole("button", { name: "Earlier steps" }).count(), 0);
    // They stay while the last ones go on.
    await save(server, { userId: "anna", taskId: "long", step: 521, stepResult: { stepName: "more", status: "RUNNING" } });
    await until(async () => (await steps.count()) === 521, "the next step");
    page.quiet();
  }),
);

test(
  "the dialog to cancel takes the focus and gives it back",
  whole(async () => {
    const server = await Server.start();
    await save(server, { userId: "anna", taskId: "kept", step: 1, stepResult: { stepName: "go", status: "RUNNING" } });
    const page = await open(server, "/tasks/anna/kept");
    const focused = (selector) =>
      until(() => page.evaluate((wanted) => document.activeElement.matches(wanted), selector), `the focus on ${selector}`);
    for (const leave of ["Leave it", "Escape"]) {
      await page.getByRole("button", { name: "Cancel …" }).focus();
      await page.keyboard.press("Enter");
      await focused("dialog input");
      if (leave === "Escape") await page.keyboard.press(leave);
      else await page.getByRole("button", { name: leave }).click();
      await page.locator("dialog").waitFor({ state: "detached" });
      await focused(".task-head button.danger");
    }
    // The button is gone once it is done.
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Cancel the task" }).click();
    await page.locator("dialog").waitFor({ state: "detached" });
    await focused("main");
    page.quiet();
  }),
);

test(
  "signing in by a token, and again when it has expired",
  whole(async () => {
    const server = await Server.start(undefined, SECRET);
    const worker = token("worker", "1h", SECRET, "worker");
    await save(
      server,
      { userId: "sue", taskId: "mine", step: 1, stepResult: { stepName: "go", status: "RUNNING" } },
      worker,
    );
    await save(
      server,
      { userId: "ben", taskId: "his", step: 1, stepResult: { stepName: "go", status: "RUNNING" } },
      worker,
    );
    const page = await open(server, "/", { expected: [REFUSED] });
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await signIn(page, "not a token");
    await page.getByRole("alert").waitFor();
    await page.visit.picture("sign-in");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.visit.assertAccessible();
    }
    await signIn(page, `Bearer ${token("sue", "5s", { ...SECRET, TASKWIRE_JWT_LEEWAY: "0s" })}`);
    await page.getByRole("link", { name: "mine" }).waitFor();
    assert.equal(await page.getByRole("link", { name: "his" }).count(), 0);
    // Its time is over: the server closes the socket, and the page says why.
    await page
      .getByRole("alert")
      .getByText(/expired/)
      .waitFor({ timeout: 25_000 });
    await signIn(page, token("sue", "1h", SECRET));
    await page.getByRole("link", { name: "mine" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    page.quiet();
  }),
);
