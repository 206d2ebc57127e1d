// What the browser tests share: Debian's Chromium, driven by playwright-core; a visit that sees everything that goes wrong
// on a page; axe; screenshots.
//
// A test: `const browser = await openBrowser()`, `const visit = await Visit.open(browser, server, "/overview")`, what a person
// does with `visit.page`, and at the end `visit.assertClean()`. Servers and tokens are those of tests/clients/resume.mjs.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const AXE = new URL("../node_modules/axe-core/axe.min.js", import.meta.url);
/** What a page may take to show what it should. */
const PATIENCE = 30_000;

/** A browser, and no page. `TASKWIRE_BROWSER` names another one than Chromium of the PATH. */
export async function openBrowser() {
  const executablePath = process.env.TASKWIRE_BROWSER ?? find(NAMES);
  // Chromium's own sandbox does not run as root; what it opens here comes from our own server.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return await chromium.launch({ executablePath, args });
}

function find(names) {
  for (const name of names) {
    try {
      return execFileSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      // The next one.
    }
  }
  throw new Error(`none of ${names.join(", ")} is here: run scripts/setup test`);
}

/** A page in a profile of its own, and all that went wrong on it. */
export class Visit {
  problems = [];

  /**
   * Opens a path of a server (as tests/clients/resume.mjs has them). `options` are those of playwright's browser.newContext,
   * such as `colorScheme: "dark"` or `viewport`; `token` is put where the pages keep it.
   */
  static async open(browser, server, path, { token, ...options } = {}) {
    const visit = new Visit();
    visit.origin = new URL(server.url()).origin;
    visit.context = await browser.newContext(options);
    visit.page = await visit.context.newPage();
    visit.page.setDefaultTimeout(PATIENCE);
    await visit.listen();
    if (token) await visit.page.addInitScript((kept) => sessionStorage.setItem("taskwire.token", kept), token);
    await visit.page.goto(visit.origin + path);
    return visit;
  }

  async listen() {
    const note = (what) => this.problems.push(what);
    await this.page.exposeFunction("noteViolation", (what) => note(`policy: ${what}`));
    await this.page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        const { effectiveDirective, blockedURI, sourceFile, lineNumber, sample } = event;
        globalThis.noteViolation(`${effectiveDirective} ${blockedURI} ${sourceFile}:${lineNumber} ${sample}`);
      });
    });
    const isBad = (message) => message.type() === "error" || message.type() === "warning";
    const noteMessage = (message) => isBad(message) && note(`console: ${message.text()} (${message.location().url})`);
    this.page.on("console", noteMessage);
    this.page.on("worker", (worker) => worker.on("console", noteMessage));
    this.page.on("pageerror", (error) => note(`error: ${error.stack ?? error}`));
    this.page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "blob:" && url.origin !== this.origin) note(`asked elsewhere: ${url}`);
    });
  }

  /** Takes what is expected out of the problems, and wants it to be there: a refused token is told by the console, too. */
  expect(pattern) {
    const rest = this.problems.filter((problem) => !pattern.test(problem));
    assert.ok(rest.length < this.problems.length, `not seen: ${pattern} in ${JSON.stringify(this.problems)}`);
    this.problems = rest;
  }

  /** Nothing went wrong: no violation of the policy, no error or warning in the console, nothing asked of anybody else. */
  assertClean() {
    assert.deepEqual(this.problems, []);
  }

  /** axe finds nothing on what the page shows now. */
  async assertAccessible(within = "document") {
    // By the debugger's road, which the page's policy does not close.
    await this.page.evaluate(readFileSync(AXE, "utf8"));
    const found = await this.page.evaluate(async (selector) => {
      const root = selector === "document" ? document : selector;
      const { violations } = await globalThis.axe.run(root);
      return violations.map(({ id, help, nodes }) => ({ id, help, at: nodes.map(({ html, target }) => ({ target, html })) }));
    }, within);
    assert.deepEqual(found, []);
  }

  /** Keeps a picture where `TASKWIRE_SCREENSHOTS` names a folder, for a person to look at. */
  async picture(name) {
    const folder = process.env.TASKWIRE_SCREENSHOTS;
    if (folder) await this.page.screenshot({ path: join(folder, `${name}.png`) });
  }

  async close() {
    await this.context.close();
  }
}
