// The list's rows in memory (taskList.ts): pages, changes and absences in every order, without a server and a browser.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { TaskList, joined } from "../../src/dashboard/list/taskList.ts";

globalThis.requestAnimationFrame = (frame) => setImmediate(frame);

/** A task that was created in this second: higher ones stand above. */
const task = (second, position = 1) => ({
  id: `t${second}`,
  userId: "una",
  taskId: `t${second}`,
  createdAt: `2026-01-01T00:00:${String(second).padStart(2, "0")}.000000Z`,
  position,
});
const tasks = (...seconds) => seconds.map((second) => task(second));

/** A full page: it ends at its last task. */
const page = (rows, next = null, isAtLast = true) => {
  return { tasks: rows, end: { next, last: rows.at(-1) ?? null, isAtLast } };
};
/** A page that the server has ended early, somewhere behind its last task. */
const short = (rows, next) => page(rows, next, false);

const listOf = (first, { isReading = false } = {}) => {
  const list = new TaskList();
  list.isReading = () => isReading;
  list.replace(first);
  return list;
};
async function seen(list) {
  await turn();
  const { rows, waiting, held, hasMore } = list.snapshot();
  const texts = rows.map(({ id, position }) => (position === 1 ? id : `${id} #${position}`));
  return { rows: texts.join(" "), waiting, held, hasMore };
}

/** A page that is answered by hand. */
function reading(list) {
  const asked = [];
  let answer;
  const done = list.readMore((next) => {
    asked.push(next);
    return new Promise((resolve, reject) => (answer = { resolve, reject }));
  });
  return {
    asked,
    done,
    answer: (read) => {
      answer.resolve(read);
      return done;
    },
    fail: (reason) => {
      answer.reject(reason);
      return done;
    },
  };
}

test("pages without a row are read on, and what is live meanwhile is shown", async () => {
  const list = listOf(short([], "a"));
  list.change(task(50), true);
  assert.deepEqual(await seen(list), { rows: "t50", waiting: 0, held: 0, hasMore: true });
  const { pages } = list.snapshot();
  const further = reading(list);
  assert.deepEqual(further.asked, ["a"]);
  assert.equal(await further.answer(short([], "b")), true);
  await turn();
  assert.ok(list.snapshot().pages > pages, "a page that brought no row is told as well");
  await list.readMore(async (next) => (assert.equal(next, "b"), page(tasks(9, 8))));
  assert.deepEqual(await seen(list), { rows: "t50 t9 t8", waiting: 0, held: 0, hasMore: false });
});

test("the list ends where its last page ended, not at its last row", async () => {
  const list = listOf(page(tasks(30, 20, 10), "a"));
  list.change(task(10, 2), false);
  list.change(task(15), true);
  list.change(task(5), true);
  assert.equal((await seen(list)).rows, "t30 t20 t15");

  // Where the page ended early, nobody knows where: what may have been looked at already is shown.
  await list.readMore(async () => short(tasks(9), "b"));
  list.change(task(3), true);
  assert.equal((await seen(list)).rows, "t30 t20 t15 t9 t3");
  await list.readMore(async () => page(tasks(4, 3)));
  assert.equal((await seen(list)).rows, "t30 t20 t15 t9 t4 t3");
});

test("what comes into the filter while a page is read, and stands in it, is shown", async () => {
  const list = listOf(page(tasks(30), "a"), { isReading: true });
  const further = reading(list);
  list.change(task(25), true);
  list.change(task(20, 2), false);
  list.change(task(12, 2), true);
  list.change(task(5), true);
  list.change(task(40), true);
  await further.answer(page(tasks(20, 12, 10), "b"));
  assert.deepEqual(await seen(list), { rows: "t30 t25 t12 #2 t10", waiting: 1, held: 0, hasMore: true });
});

test("a page is read once, and not shown where it is no longer wanted", async () => {
  const list = listOf(page(tasks(30), "a"));
  const late = reading(list);
  assert.equal(await list.readMore(() => assert.fail("one is being read")), false);
  list.replace(page(tasks(40, 30), "b"));
  const wanted = reading(list);
  assert.deepEqual(wanted.asked, ["b"]);
  assert.equal(await late.answer(page(tasks(20), "c")), false);
  assert.equal(await list.readMore(() => assert.fail("one is being read")), false);
  assert.equal(await wanted.answer(page(tasks(25), "d")), true);
  assert.equal((await seen(list)).rows, "t40 t30 t25");

  // A failure of what nobody wants is none; after a real one it is read again, from the same place.
  const forgotten = reading(list);
  list.forgetPage();
  assert.equal(await forgotten.fail(new Error("away")), false);
  await assert.rejects(reading(list).fail(new Error("away")), /away/);
  assert.deepEqual(reading(list).asked, ["d"]);
});

test("after an absence only what differs in what was known counts, and only that is new", async () => {
  const before = page(tasks(50, 40, 30, 20), "a");
  for (const isReading of [false, true]) {
    // The page reaches further down than what was read before.
    const list = listOf(before, { isReading });
    assert.equal(list.replace(page(tasks(50, 40, 30, 20, 15, 10), "b")), 0);
    assert.deepEqual(await seen(list), { rows: "t50 t40 t30 t20 t15 t10", waiting: 0, held: 0, hasMore: true });

    // Not as far: 20 and below were pushed off by what is new. 60 is new, 40 has moved, 30 has left.
    assert.equal(list.replace(page([task(60), task(50), task(40, 2), task(25)], "c")), 4);
    const rows = isReading ? "t50 t40 #2" : "t60 t50 t40 #2 t25";
    assert.deepEqual(await seen(list), { rows, waiting: isReading ? 2 : 0, held: 0, hasMore: true });
  }
  const whole = listOf(page(tasks(50, 40)));
  assert.equal(whole.replace(page(tasks(50, 30))), 2, "a list that was read to its end has nothing behind it");
  assert.equal(whole.replace(short(tasks(50), "a")), 0, "what may stand behind the end has not left");
});

test("a paused list stands still over an absence, and has it all when it goes on", async () => {
  const list = listOf(page(tasks(50, 40, 30, 20), "a"));
  list.pause();
  list.change(task(40, 2), true);
  list.change(task(60), true);
  list.change(task(30, 2), false);
  // 60 had left again, 50 and 20 have moved, 70 is new: of these the absence hid all but what was held.
  assert.equal(list.replace(page([task(70), task(50, 2), task(40, 2), task(20, 2)], "b")), 4);
  const paused = { rows: "t50 t40 t30 t20", waiting: 0, hasMore: true };
  assert.deepEqual(await seen(list), { ...paused, held: 6 });
  list.change(task(70, 2), true);
  list.change(task(20, 3), false);
  assert.deepEqual(await seen(list), { ...paused, held: 6 });

  // Another absence is compared with what is known by then.
  assert.equal(list.replace(page([task(70, 2), task(50, 2), task(40, 3)], "c")), 1);
  assert.deepEqual(await seen(list), { ...paused, held: 6 });
  list.goOn();
  assert.deepEqual(await seen(list), { rows: "t70 #2 t50 #2 t40 #3", waiting: 0, held: 0, hasMore: true });
  const further = reading(list);
  assert.deepEqual(further.asked, ["c"]);
  await further.answer(page([]));
  list.pause();
  list.change(task(20), true);
  assert.equal(list.replace(short([task(70, 2), task(50, 2)], "d")), 0, "the others may stand behind the end");
  list.change(task(50, 3), false);
  list.goOn();
  assert.equal((await seen(list)).rows, "t70 #2");
  list.pause();
  list.goOn();
  assert.equal((await seen(list)).rows, "t70 #2");
});

test("of several pages in a row the end is the last one's, its place that of the last task", () => {
  const [last] = tasks(5);
  assert.deepEqual(joined({ next: "a", last, isAtLast: true }, { next: "b", last: null, isAtLast: false }), {
    next: "b",
    last,
    isAtLast: false,
  });
});
