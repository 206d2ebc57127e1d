// Nothing of the dashboard is there for nobody, and nothing twice: what a module exports is imported by another one, what an
// operation asks for has its name in the code, and a piece is used instead of written again. A name is taken for what it is:
// one that two things share hides that one of them is unused.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const DASHBOARD = new URL("../../src/dashboard/", import.meta.url);

const read = (ending) =>
  readdirSync(DASHBOARD, { recursive: true })
    .filter((name) => ending.test(name))
    .map((name) => ({ name, text: readFileSync(new URL(name, DASHBOARD), "utf8") }));
const MODULES = read(/\.tsx?$/);
const hasWord = (word) => {
  const pattern = new RegExp(`\\b${word}\\b`);
  return ({ text }) => pattern.test(text);
};

test("what is exported is imported", () => {
  const exports = MODULES.flatMap(({ name, text }) =>
    [...text.matchAll(/^export (?:async )?(?:const|function|class|type|interface) (\w+)/gm)].map(([, word]) => ({ name, word })),
  );
  assert.ok(exports.length > 50, "it has found few of the exports");
  const unused = exports.filter(({ name, word }) => !MODULES.some((other) => other.name !== name && hasWord(word)(other)));
  assert.deepEqual(unused, []);
});

test("what a class has beyond its constructor is used outside of it", () => {
  const members = MODULES.flatMap(({ name, text }) =>
    [...text.matchAll(/^  (?:readonly |get )(\w+)(?:\(\)|:| =)/gm)]
      .filter(() => /^export class/m.test(text))
      .map(([, word]) => ({ name, word })),
  );
  assert.ok(members.length > 5, "it has found few of the members");
  const unused = members.filter(({ name, word }) => !MODULES.some((other) => other.name !== name && hasWord(word)(other)));
  assert.deepEqual(unused, []);
});

test("what is asked for is shown", () => {
  // A record of the history is shown as it comes, whole.
  const operations = read(/\.graphql$/).map(({ name, text }) => ({
    name,
    text: text.replace(/^fragment Entry on [^]*?^\}/m, ""),
  }));
  const fields = operations.flatMap(({ name, text }) =>
    [...text.matchAll(/^ {2,}(\w+)(?:\(.*\))?(?: \{)?$/gm)].map(([, field]) => ({ name, field })),
  );
  assert.ok(fields.length > 100, "it has found few of the fields");
  const unused = fields.filter(({ field }) => !MODULES.some(hasWord(field)));
  assert.deepEqual(unused, []);
});

/** What is written by hand where a piece has it, and which that is. */
const PIECES = [
  [/<dt>/, "parts/Fact.tsx"],
  [/<caption>/, "parts/ScrollTable.tsx", "overview/Chart.tsx"],
  [/ === 1 \?/, "parts/format.ts"],
  [/\bcount\([\w.]+\)\} [a-z]+s\b/],
  [/\.role [!=]== "USER"/, "session/Session.tsx"],
  [/\bfollow</, "session/useFollow.ts"],
  [/"(GRAPHQL_VALIDATION_FAILED|UNAUTHENTICATED)"/, "session/failure.ts"],
  [/Math\.min\([^)]*pageSize/, "session/Session.tsx", "task/taskReading.ts", "list/useTaskList.ts"],
  [/navigator\.clipboard/, "parts/CopyButton.tsx"],
];

for (const [pattern, ...places] of PIECES) {
  test(`${pattern.source} stands ${places[0] ?? "nowhere"}`, () => {
    const found = MODULES.filter(({ text }) => pattern.test(text)).map(({ name }) => name);
    assert.deepEqual(found.filter((name) => !places.includes(name)), []);
    // A pattern that finds nothing any more looks after nothing.
    if (places.length > 0) assert.ok(found.includes(places[0]));
  });
}
