// graphql-sse: reconnects by itself and sends the request that it was given again. So the last cursor is put into it.
import { test } from 'node:test';
import { createClient } from 'graphql-sse';
import { TASK_EVENTS, resumes, soon } from './resume.mjs';

test('graphql-sse resumes', () =>
  resumes((server, variables, onEvent) => {
    const client = createClient({ url: server.url(), retryAttempts: Infinity, retry: soon });
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
