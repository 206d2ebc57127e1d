// What the scripts share: a server that is killed and replaced, a writer that goes on meanwhile, and what must hold.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const PROGRAM = process.env.TASKWIRE ?? '../../target/debug/taskwire';
const PATIENCE = 30_000;
assert.ok(process.env.TASKWIRE_DATABASE_URL, 'TASKWIRE_DATABASE_URL must name an empty database');

// Every server, also one that did not come to answer.
const started = [];

export async function endServers() {
  for (const server of started) await server.end('SIGKILL');
}

export const USER = 'anna';

// The subscription of every script. `after` is where it goes on.
export const TASK_EVENTS = /* GraphQL */ `
  subscription Events($user: ID!, $after: FeedCursor) {
    taskEvents(userId: $user, after: $after) { feedCursor record { position } }
  }
`;

// How soon a client comes back. Front ends take more, and some chance.
export const soon = () => sleep(100 + Math.random() * 100);

/** A `taskwire serve` over the database that the environment names. */
export class Server {
  /** Starts one and waits until it answers. */
  static async start(port = undefined, env = {}) {
    const server = new Server();
    server.port = port ?? (await freePort());
    const options = { stdio: ['ignore', 'pipe', 'inherit'], env: { TASKWIRE_LOG: 'error', ...process.env, ...env } };
    server.process = spawn(PROGRAM, ['serve', '--listen', `127.0.0.1:${server.port}`], options);
    server.ended = once(server.process, 'exit');
    started.push(server);
    let said = '';
    for await (const text of server.process.stdout) {
      said += text;
      if (said.includes('is ready')) break;
    }
    assert.match(said, /is ready/, 'the server does not start');
    server.process.stdout.destroy();
    return server;
  }

  url(scheme = 'http') {
    return `${scheme}://127.0.0.1:${this.port}/graphql`;
  }

  async ask(query, variables, token) {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    const response = await fetch(this.url(), { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
    const { data, errors } = await response.json();
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  /** Saves the step of this number. */
  save(step, token) {
    return this.report(USER, 'task', step, token);
  }

  async report(userId, taskId, step, token) {
    const input = { userId, taskId, step, stepResult: { stepName: `step ${step}`, status: 'RUNNING' } };
    const query = 'mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { record { position } } }';
    await this.ask(query, { input }, token);
  }

  /** Where the feed stands: what a page is loaded with before it subscribes. */
  async cursor() {
    return (await this.ask('query($user: ID) { feed(userId: $user) { cursor } }', { user: USER })).feed.cursor;
  }

  /** Ends it by a signal, and waits until it is gone. */
  async end(signal) {
    this.process.kill(signal);
    await this.ended;
  }
}

/** A token for development. */
export const token = (sub, ttl, env, role = 'user') =>
  execFileSync(PROGRAM, ['token', '--sub', sub, '--role', role, '--ttl', ttl], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  }).trim();

/**
 * The test of a client. `subscribe(server, variables, onEvent)` begins at `variables.after`, hands each `taskEvents` to
 * `onEvent`, and gives a function that ends everything of the client.
 */
export async function resumes(subscribe) {
  let end = () => {};
  try {
    const [first, writer] = [await Server.start(), await Server.start()];
    const positions = [];
    const variables = { user: USER, after: await first.cursor() };
    end = await subscribe(first, variables, ({ record }) => positions.push(record.position));

    // Live.
    for (let step = 1; step <= 3; step++) await writer.save(step);
    await until(() => positions.length >= 3, 'the first events');

    // Gone under load, and away while more is written: killed, then ended as a deploy ends it.
    let server = first;
    let step = 4;
    for (const signal of ['SIGKILL', 'SIGTERM']) {
      const before = step;
      for (; step < before + 27; step++) {
        await writer.save(step);
        if (step === before + 6) await server.end(signal);
      }
      assert.ok(positions.length < step - 1, 'the client cannot have heard of everything');
      server = await Server.start(server.port);
      await until(() => positions.length >= step - 1, `what was missed at ${signal}`);

      // Live again.
      for (const end = step + 3; step < end; step++) {
        await writer.save(step);
        await until(() => positions.length >= step, `step ${step}`);
      }
    }
    assert.deepEqual(positions, Array.from({ length: step - 1 }, (_, index) => index + 1));
  } finally {
    await end();
    await endServers();
  }
}

export async function until(isSo, what) {
  const end = Date.now() + PATIENCE;
  while (!isSo()) {
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await sleep(10);
  }
}

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}
