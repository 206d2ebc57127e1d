// resume.ts by itself: what it makes of pages and events that come in any order. No server and no browser: the test hands
// it the answers and the events.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { follow, inMemory } from "../../src/resume/resume.ts";

const LIVE = { task: null, matchesFilter: true, feedCursor: null, isReplay: false };
const change = (id, position, matchesFilter = true) => ({ ...LIVE, task: { id, position }, matchesFilter });

/** Follows with pages that are answered by hand, and streams that are spoken on by hand. */
function followed(options = {}) {
  const seen = { streams: [], pages: [], states: [], shown: [] };
  const list = inMemory(({ tasks }) => {
    seen.shown = tasks.map(({ id, position }) => `${id} #${position}`).sort();
  });
  const following = follow({
    ...list,
    spansUsers: true,
    readPage: () => new Promise((resolve) => seen.pages.push(resolve)),
    subscribe: (after, sink) => {
      seen.streams.push({ after, ...sink });
      return () => {};
    },
    onState: (state) => seen.states.push(state.kind),
    isFinal: () => false,
    isExpired: (reason) => reason === "expired",
    ...options,
  });
  return Object.assign(seen, { list, stop: following.stop });
}

test("what changes while the page is read is told once, and by its newest state", async () => {
  const seen = followed();
  await turn();
  const [stream] = seen.streams;
  stream.next(LIVE);
  stream.next(change("left", 2, false));
  stream.next(change("moved", 2));
  stream.next(change("back", 2, false));
  stream.next(change("new", 1));
  const tasks = ["left", "moved", "still"].map((id) => ({ id, position: 1 }));
  // The page may be younger than what the stream has told: this one is in the filter again.
  seen.pages[0]({ tasks: [...tasks, { id: "back", position: 3 }], feedCursor: null });
  await turn();
  assert.deepEqual(seen.shown, ["back #3", "moved #2", "new #1", "still #1"]);
  assert.deepEqual(seen.states, ["connecting", "live"]);
  seen.stop();
});

test("what a mutation has brought is not taken out by an older event", async () => {
  const seen = followed();
  await turn();
  seen.streams[0].next(LIVE);
  seen.pages[0]({ tasks: [{ id: "one", position: 1 }], feedCursor: null });
  await turn();
  seen.list.keep({ id: "one", position: 3 });
  seen.streams[0].next(change("one", 2, false));
  assert.deepEqual(seen.shown, ["one #3"]);
  seen.streams[0].next(change("one", 3, false));
  assert.deepEqual(seen.shown, []);
  seen.stop();
});

test("an expired cursor is gone on from at once, each time after a stream that was live", async () => {
  const seen = followed({ spansUsers: false });
  await turn();
  for (let number = 0; number < 3; number++) {
    seen.pages[number]({ tasks: [], feedCursor: `cursor ${number}` });
    await turn();
    assert.equal(seen.streams[number].after, `cursor ${number}`);
    seen.streams[number].next(LIVE);
    seen.streams[number].error("expired");
    await turn();
  }
  assert.equal(seen.pages.length, 4);
  assert.ok(!seen.states.includes("disconnected"), seen.states.join());

  // But not again and again, where no stream comes to live.
  seen.pages[3]({ tasks: [], feedCursor: "cursor 3" });
  await turn();
  seen.streams[3].error("expired");
  await turn();
  assert.equal(seen.states.at(-1), "disconnected");
  seen.stop();
});
