// A task as it is read (taskReading.ts), over a server that answers by hand: no record twice, no hole, one question at a time.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { TaskReading } from "../../src/dashboard/task/taskReading.ts";

/** `records` and `steps` are how many there are; `open()` lets the oldest question through. */
function serverOf({ records = 0, steps = 0 }) {
  const server = { records, steps, position: 1, asked: [], most: 0, isHeld: false, held: [] };
  const page = (count, { first, after, last, before }) => {
    assert.ok((first ?? last) <= 100, "the server gives 100 at the most");
    const [low, high] = [after ? Number(after) : 0, before ? Number(before) - 1 : count];
    const from = first == null ? Math.max(low, high - last) : low;
    const to = first == null ? high : Math.min(high, low + first);
    const numbers = Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index + 1);
    const pageInfo = {
      hasPreviousPage: from > low,
      hasNextPage: to < high,
      startCursor: numbers.length > 0 ? String(numbers[0]) : null,
      endCursor: numbers.length > 0 ? String(numbers.at(-1)) : null,
    };
    return { numbers, pageInfo };
  };
  const answer = (name, { first, after, last, before, steps: lastSteps }) => {
    if (name === "History") {
      const { numbers, pageInfo } = page(server.records, { first, after, last, before });
      return { taskHistory: { nodes: numbers.map((position) => ({ id: `r${position}`, position })), pageInfo } };
    }
    const { numbers, pageInfo } = page(server.steps, { last: lastSteps ?? last, before });
    const nodes = numbers.map((step) => ({ id: `s${step}`, step }));
    return { task: { position: server.position, steps: { nodes, pageInfo } } };
  };
  const connection = {
    async ask(document, variables) {
      const name = document.definitions[0].name.value;
      server.asked.push(name);
      server.open += 1;
      server.most = Math.max(server.most, server.open);
      if (server.isHeld) await new Promise((resolve) => server.held.push(resolve));
      else await turn();
      server.open -= 1;
      if (server.isBroken) throw new Error("broken");
      return answer(name, variables);
    },
  };
  server.open = 0;
  server.release = () => {
    server.isHeld = false;
    for (const resolve of server.held.splice(0)) resolve();
  };
  server.reading = new TaskReading(connection, "una", "t", 100);
  return server;
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const positions = (reading) => reading.snapshot().history.map(({ position }) => position);
const stepsOf = (reading) => reading.snapshot().steps.map(({ step }) => step);

test("no page is larger than the server's", async () => {
  const { reading } = serverOf({ records: 250, steps: 250 });
  await reading.readAll();
  assert.deepEqual(positions(reading), numbers(151, 250));
  assert.deepEqual(stepsOf(reading), numbers(151, 250));
});

test("older records, asked for twice at once, come once", async () => {
  const { reading } = serverOf({ records: 250 });
  await reading.readAll();
  await Promise.all([reading.readOlder(), reading.readOlder(), reading.readOlder()]);
  assert.deepEqual(positions(reading), numbers(1, 250));
  assert.equal(reading.snapshot().hasOlder, false);
});

test("who reads on, goes back and asks for the task at once, asks one after the other and sees no record twice", async () => {
  const server = serverOf({ records: 150 });
  const { reading } = server;
  await reading.readAll();
  server.records = 320;
  await Promise.all([reading.readAll(), reading.readOlder(), reading.readTask(), reading.readAll()]);
  assert.deepEqual(positions(reading), numbers(1, 320));
  assert.equal(server.most, 1);
});

test("however often it is told to read while an answer is awaited, it reads once more", async () => {
  const server = serverOf({ records: 3 });
  const { reading } = server;
  await reading.readAll();
  server.isHeld = true;
  server.asked.length = 0;
  const first = reading.readAll();
  await turn();
  const others = Array.from({ length: 20 }, () => reading.readAll());
  server.records = 4;
  server.release();
  await Promise.all([first, ...others]);
  assert.deepEqual(positions(reading), [1, 2, 3, 4]);
  assert.equal(server.asked.filter((name) => name === "Task").length, 2);
});

test("an answer that comes late does not put an older state over a newer one", async () => {
  const server = serverOf({ records: 1 });
  const { reading } = server;
  await reading.readAll();
  reading.take({ position: 7 });
  await reading.readTask();
  assert.equal(reading.snapshot().task.position, 7);
});

test("the newest steps are shown, the earlier ones when they are asked for, and all of them anew", async () => {
  const server = serverOf({ steps: 250 });
  const { reading } = server;
  await reading.readAll();
  assert.deepEqual([stepsOf(reading).at(0), stepsOf(reading).at(-1)], [151, 250]);
  assert.ok(reading.snapshot().hasEarlierSteps);
  await reading.readEarlierSteps();
  assert.deepEqual(stepsOf(reading), numbers(51, 250));
  server.steps = 260;
  await reading.readAll();
  assert.deepEqual(stepsOf(reading).slice(-200), numbers(61, 260));
  await reading.readEarlierSteps();
  await reading.readEarlierSteps();
  assert.deepEqual(stepsOf(reading), numbers(1, 260));
  assert.ok(!reading.snapshot().hasEarlierSteps);
  // Begun anew.
  server.steps = 1;
  await reading.readAll();
  assert.deepEqual(stepsOf(reading), [1]);
});

test("after a question that failed the next one is asked", async () => {
  const server = serverOf({ records: 2 });
  const { reading } = server;
  server.isBroken = true;
  await assert.rejects(reading.readAll());
  server.isBroken = false;
  assert.equal(await reading.readAll(), 2);
  assert.deepEqual(positions(reading), [1, 2]);
});
