// GraphiQL at /graphiql: its first tabs run as they stand, with and without a token, in the light and in the dark.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server, USER, endServers, token } from "../../tests/clients/resume.mjs";
import { Visit, openBrowser } from "./visit.mjs";

const KEY = { TASKWIRE_JWT_SECRET: "a secret of more than thirty-two bytes" };

let browser;
before(async () => {
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await endServers();
});

/** What GraphiQL shows, and what a person does with it. */
class Graphiql {
  constructor({ page }) {
    this.page = page;
  }

  async ready() {
    await this.page.locator(".graphiql-query-editor .view-lines").getByText("query").first().waitFor();
    // The schema has come when the documentation has it.
    await this.page.getByRole("button", { name: /Documentation Explorer/ }).click();
    await this.page.locator(".graphiql-doc-explorer").getByText("Subscription", { exact: true }).waitFor();
  }

  async tab(name) {
    await this.page.getByRole("tab", { name }).click();
    await this.page.locator(".graphiql-query-editor .view-lines").getByText(name).waitFor();
  }

  async run() {
    await this.page.getByRole("button", { name: /Execute query/ }).click();
  }

  async stop() {
    await this.page.getByRole("button", { name: /Stop query/ }).click();
  }

  /** Waits until the answer says this. */
  async answers(text) {
    const answer = this.page.locator(".graphiql-response .view-lines");
    await answer.getByText(text).first().waitFor().catch(async (error) => {
      throw new Error(`${error}\nthe answer: ${await answer.innerText()}`);
    });
  }

}

/** The background that is behind the editor, as a grey of 0 (black) to 1. */
const brightness = (page) =>
  page.locator(".graphiql-query-editor .lines-content").evaluate((editor) => {
    let at = editor;
    let colour = "";
    while (at && (colour = getComputedStyle(at).backgroundColor).endsWith(", 0)")) at = at.parentElement;
    const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
    return (red + green + blue) / 3 / 255;
  });

for (const colorScheme of ["light", "dark"]) {
  test(`the first query, mutation and subscription run, ${colorScheme}`, async () => {
    const server = await Server.start();
    await server.save(1);
    const visit = await Visit.open(browser, server, "/graphql", { colorScheme, viewport: { width: 1440, height: 900 } });
    assert.equal(new URL(visit.page.url()).pathname, "/graphiql");
    const graphiql = new Graphiql(visit);
    await graphiql.ready();
    const grey = await brightness(visit.page);
    assert.ok(colorScheme === "dark" ? grey < 0.4 : grey > 0.6, `${colorScheme}: ${grey}`);

    // Nothing has been picked by hand: the variables name the user who is there.
    await graphiql.run();
    await graphiql.answers('"task"');
    await visit.page.locator(".graphiql-editor-tool .view-lines").getByText(`"${USER}"`).waitFor();
    await visit.picture(`graphiql-${colorScheme}`);

    await graphiql.tab("ReportStep");
    await graphiql.run();
    await graphiql.answers('"from-graphiql"');
    const saved = await server.ask('query($u: ID) { taskStatus(userId: $u, taskId: "from-graphiql") }', { u: USER });
    assert.deepEqual(saved, { taskStatus: "RUNNING" });

    await graphiql.tab("WatchTask");
    await graphiql.run();
    await graphiql.answers('"RUNNING"');
    const input = { userId: USER, taskId: "task", step: 2, stepResult: { stepName: "b", status: "FAILED", message: "seen live" } };
    await server.ask("mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { isDuplicate } }", { input });
    await graphiql.answers('"seen live"');
    await visit.picture(`graphiql-subscription-${colorScheme}`);
    await graphiql.stop();

    // The explorer has what the tab asks, ticked.
    await visit.page.getByRole("button", { name: /GraphiQL Explorer/ }).click();
    await visit.page.locator(".docExplorerWrap").getByText("fromStart").waitFor();
    await visit.picture(`graphiql-explorer-${colorScheme}`);

    // What is wrong is underlined, which Monaco would do by an image that the policy does not allow.
    await visit.page.locator(".graphiql-query-editor .view-lines").click();
    await visit.page.keyboard.press("Control+End");
    await visit.page.keyboard.type("\n{ nothing ");
    await visit.page.locator(".graphiql-query-editor .squiggly-error").first().waitFor();
    await visit.picture(`graphiql-wrong-${colorScheme}`);
    visit.assertClean();
    await visit.close();
    await server.end("SIGTERM");
  });
}

test("where people sign in, a pasted token goes along, on the socket too", async () => {
  const server = await Server.start(undefined, KEY);
  const worker = token("worker", "1h", KEY, "worker");
  await server.save(1, worker);
  const visit = await Visit.open(browser, server, "/graphiql");
  const signIn = async (text) => {
    await visit.page.getByLabel("Token").fill(text);
    await visit.page.getByRole("button", { name: "Sign in" }).click();
  };
  await visit.page.getByText("wants to know who asks").waitFor();
  await visit.assertAccessible();
  await visit.picture("graphiql-sign-in");
  await signIn("not a token");
  await visit.page.getByText("does not take this token").waitFor();
  visit.expect(/status of 401/);
  await signIn(`Bearer ${token(USER, "1h", KEY)}`);

  const graphiql = new Graphiql(visit);
  await graphiql.ready();
  await graphiql.run();
  await graphiql.answers('"task"');
  await graphiql.tab("WatchTask");
  await graphiql.run();
  await graphiql.answers('"RUNNING"');
  await server.save(2, worker);
  await graphiql.answers("step 2");
  await graphiql.stop();
  // Users do not save: their first mutation is one that they may.
  await graphiql.tab("CancelOwnTask");
  await graphiql.run();
  await graphiql.answers('"CANCELLED"');

  // The headers editor has the token, and what is written there counts.
  await visit.page.getByRole("button", { name: "Headers" }).click();
  const headers = visit.page.locator(".graphiql-editor-tool .view-lines").filter({ hasText: "Authorization" });
  await headers.click();
  await visit.page.keyboard.press("Control+A");
  await visit.page.keyboard.type('{ "authorization": "Bearer somebody');
  visit.assertClean();
  await graphiql.run();
  await graphiql.answers("UNAUTHENTICATED");
  visit.expect(/status of 401/);

  // Who comes back finds the tabs as they were, and is still signed in.
  await visit.page.reload();
  await graphiql.tab("RecentTasks");
  await graphiql.run();
  await graphiql.answers('"task"');
  await graphiql.tab("WatchTask");
  await graphiql.run();
  await graphiql.answers('"Tried in GraphiQL"');
  await visit.page.getByRole("button", { name: "Sign out" }).click();
  await visit.page.getByText("wants to know who asks").waitFor();
  visit.expect(/status of 401/);
  visit.assertClean();
  await visit.close();
  await server.end("SIGTERM");
});
