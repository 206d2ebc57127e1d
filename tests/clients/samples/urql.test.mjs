import { test } from 'node:test';
import { connect, liveTasks } from './urql.mjs';
import { isFollowed } from './followed.mjs';

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
