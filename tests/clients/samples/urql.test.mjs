import { test } from 'node:test';
import { connect, liveTasks } from './urql.mjs';
import { endsWithItsToken, isFollowed } from './followed.mjs';

test('the sample for urql', () =>
  isFollowed((server, userId) => {
    const { client, close } = connect(server.url(), server.url('ws'));
    let shown = [];
    const following = liveTasks(client, userId, (tasks) => (shown = tasks));
    return {
      shown: () => shown,
      end: async () => {
        following.stop();
        await close();
      },
    };
  }));

test('the sample for urql ends with its token', () =>
  endsWithItsToken((server, userId, headers, onState) => {
    const { client, close } = connect(server.url(), server.url('ws'), headers);
    const following = liveTasks(client, userId, () => {}, onState);
    return async () => {
      following.stop();
      await close();
    };
  }));
