// The test of every sample: its list, of one user or of everybody, is the database's again after the server was killed, and
// after it was ended as a deploy ends it, while others wrote on through another server. And it gives up with its token.
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { Server, USER, endServers, token, until } from '../resume.mjs';

// Every browser has it, Node since 22.
globalThis.WebSocket ??= WebSocket;

const LIST = `query($userId: ID) {
  tasks(userId: $userId, orderBy: CREATED_DESC, first: 100) { nodes { id taskId userId status step position } }
}`;

/** `start(server, userId)` gives the tasks as they are shown, by a function, and a function that ends it all. */
export async function isFollowed(start) {
  try {
    const [first, writer] = [await Server.start(), await Server.start()];
    await writer.report(USER, 'old', 1);
    const lists = [];
    for (const userId of [USER, undefined]) lists.push({ userId, ...(await start(first, userId)) });
    const areTrue = async (what) => {
      for (const { userId, shown } of lists) {
        const { tasks } = await writer.ask(LIST, { userId });
        await until(() => isSame(shown(), tasks.nodes), `${what}, of ${userId ?? 'everybody'}`);
      }
    };
    await areTrue('the page');
    const moves = (from, to) => async () => {
      for (let step = from; step <= to; step++) {
        for (const user of [USER, 'bert']) for (const task of ['old', `new ${step}`]) await writer.report(user, task, step);
      }
    };
    await moves(2, 4)();
    await areTrue('what came live');
    let [server, step] = [first, 5];
    for (const signal of ['SIGKILL', 'SIGTERM']) {
      await Promise.all([moves(step, step + 9)(), server.end(signal)]);
      const { tasks } = await writer.ask(LIST, {});
      for (const { shown } of lists) assert.ok(!isSame(shown(), tasks.nodes), 'it cannot have heard of everything');
      server = await Server.start(server.port);
      await areTrue(`what was missed at ${signal}`);
      await moves(step + 10, step + 12)();
      await areTrue('live again');
      step += 13;
    }
    for (const { end } of lists) await end();
  } finally {
    await endServers();
  }
}

const KEY = { TASKWIRE_JWT_SECRET: 'a secret of more than thirty-two bytes', TASKWIRE_JWT_LEEWAY: '0s' };

/**
 * A list ends for good when its token has expired, which closes its socket; and one that begins with such a token ends at
 * once. `start(server, userId, headers, onState)` gives the function that ends it all.
 */
export async function endsWithItsToken(start) {
  const ends = [];
  try {
    const server = await Server.start(undefined, KEY);
    const headers = { Authorization: `Bearer ${token(USER, '3s', KEY)}` };
    const follows = async () => {
      const states = [];
      ends.push(await start(server, USER, headers, ({ kind }) => states.push(kind)));
      return states;
    };
    const first = await follows();
    await until(() => first.includes('ended'), 'the end with the token');
    assert.deepEqual(first, ['connecting', 'live', 'ended']);
    const second = await follows();
    await until(() => second.includes('ended'), 'the end of one that comes with an old token');
    assert.deepEqual(second, ['connecting', 'ended']);
  } finally {
    for (const end of ends) await end();
    await endServers();
  }
}

const text = (tasks) => tasks.map(({ id, taskId, userId, status, step, position }) => JSON.stringify([id, taskId, userId, status, step, position]));
const isSame = (shown, wanted) => JSON.stringify(text(shown).sort()) === JSON.stringify(text(wanted).sort());
