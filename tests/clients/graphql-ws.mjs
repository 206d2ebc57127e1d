// graphql-ws: reconnects by itself and sends the payload that it was given again. So the last cursor is put into it.
import { test } from 'node:test';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { TASK_EVENTS, resumes, soon } from './resume.mjs';

test('graphql-ws resumes', () =>
  resumes((server, variables, onEvent) => {
    const client = createClient({
      url: server.url('ws'),
      webSocketImpl: WebSocket,
      retryAttempts: Infinity,
      retryWait: soon,
      shouldRetry: () => true,
    });
    client.subscribe(
      { query: TASK_EVENTS, variables },
      {
        next({ data }) {
          variables.after = data.taskEvents.feedCursor;
          onEvent(data.taskEvents);
        },
        error: (error) => { throw error; },
        complete: () => {},
      },
    );
    return () => client.dispose();
  }));
