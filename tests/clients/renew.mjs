// A token that ends soon is renewed on the same socket: a ping whose payload has the new one, answered by a pong. The socket
// is the one that graphql-ws hands to its `connected` event.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { Server, TASK_EVENTS, USER, endServers, token, until } from './resume.mjs';

const KEY = { TASKWIRE_JWT_SECRET: 'a secret of more than thirty-two bytes', TASKWIRE_JWT_LEEWAY: '0s' };

test('a token is renewed on its socket, and without that the socket ends with it', async () => {
  const clients = [];
  try {
    const server = await Server.start(undefined, KEY);
    const worker = token('worker', '1h', KEY, 'worker');
    const connect = (renews) => {
      const seen = { connected: 0, pongs: 0, closes: [], positions: [] };
      const client = createClient({
        url: server.url('ws'),
        webSocketImpl: WebSocket,
        retryAttempts: 0,
        connectionParams: { Authorization: `Bearer ${token(USER, '3s', KEY)}` },
        on: {
          connected(socket) {
            seen.connected += 1;
            if (!renews) return;
            setTimeout(() => {
              const payload = { Authorization: `Bearer ${token(USER, '1h', KEY)}` };
              socket.send(JSON.stringify({ type: 'ping', payload }));
            }, 500);
          },
          pong: () => { seen.pongs += 1; },
          closed: ({ code }) => seen.closes.push(code),
        },
      });
      clients.push(client);
      client.subscribe({ query: TASK_EVENTS, variables: { user: USER } }, {
        next: ({ data }) => seen.positions.push(data.taskEvents.record.position),
        error: () => {},
        complete: () => {},
      });
      return seen;
    };
    const renewed = connect(true);
    const other = connect(false);
    await until(() => renewed.pongs === 1, 'the answer to the renewal');
    await until(() => other.closes.length === 1, 'the end of the other one, with its token');
    await sleep(1_000);
    await server.save(1, worker);
    await until(() => renewed.positions.length === 1, 'an event after the first token');
    assert.deepEqual(other, { connected: 1, pongs: 0, closes: [4403], positions: [] });
    assert.deepEqual(renewed, { connected: 1, pongs: 1, closes: [], positions: [1] });
  } finally {
    for (const client of clients) await client.dispose();
    await endServers();
  }
});
