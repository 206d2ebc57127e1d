// urql, whose fetchExchange takes subscriptions as server-sent events. It does not reconnect by itself, and where a stream
// ends without an error (the server was ended, not killed) it only says that it is over. Subscribe again with the last
// cursor either way.
import { test } from 'node:test';
import { Client, fetchExchange } from '@urql/core';
import { onEnd, pipe, subscribe } from 'wonka';
import { TASK_EVENTS, resumes, soon } from './resume.mjs';

test('urql resumes', () =>
  resumes((server, variables, onEvent) => {
    const client = new Client({ url: server.url(), exchanges: [fetchExchange], fetchSubscriptions: true });
    let subscription;
    let isOver = false;
    const start = () => {
      let isLast = false;
      const again = () => {
        if (isLast || isOver) return;
        isLast = true;
        soon().then(() => isOver || start());
      };
      subscription = pipe(
        client.subscription(TASK_EVENTS, { ...variables }),
        onEnd(again),
        subscribe(({ data, error, hasNext }) => {
          if (error) return again();
          // Where a stream ends, urql gives its last result once more, marked as the end.
          if (hasNext === false) return;
          variables.after = data.taskEvents.feedCursor;
          onEvent(data.taskEvents);
        }),
      );
    };
    start();
    return () => {
      isOver = true;
      subscription.unsubscribe();
    };
  }));
