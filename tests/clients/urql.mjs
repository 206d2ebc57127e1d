// urql, whose fetchExchange takes subscriptions as server-sent events. It does not reconnect by itself: subscribe again
// with the last cursor.
import { test } from 'node:test';
import { Client, fetchExchange } from '@urql/core';
import { TASK_EVENTS, resumes, soon } from './resume.mjs';

test('urql resumes', () =>
  resumes((server, variables, onEvent) => {
    const client = new Client({ url: server.url(), exchanges: [fetchExchange], fetchSubscriptions: true });
    let subscription;
    let isOver = false;
    const start = () => {
      subscription = client.subscription(TASK_EVENTS, { ...variables }).subscribe(({ data, error }) => {
        if (error) {
          subscription?.unsubscribe();
          soon().then(() => isOver || start());
        } else {
          variables.after = data.taskEvents.feedCursor;
          onEvent(data.taskEvents);
        }
      });
    };
    start();
    return () => {
      isOver = true;
      subscription.unsubscribe();
    };
  }));
