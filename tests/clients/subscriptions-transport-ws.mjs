// subscriptions-transport-ws: the older sub-protocol. Reconnects by itself with the variables that it was given; the last
// cursor is put into them.
import { test } from 'node:test';
import { SubscriptionClient } from 'subscriptions-transport-ws';
import WebSocket from 'ws';
import { TASK_EVENTS, resumes } from './resume.mjs';

test('subscriptions-transport-ws resumes', () =>
  resumes((server, variables, onEvent) => {
    const client = new SubscriptionClient(server.url('ws'), { reconnect: true, minTimeout: 1_000 }, WebSocket);
    client.request({ query: TASK_EVENTS, variables }).subscribe({
      next({ data }) {
        variables.after = data.taskEvents.feedCursor;
        onEvent(data.taskEvents);
      },
      error: (error) => { throw error; },
    });
    return () => client.close(true);
  }));
