import { test } from 'node:test';
import { PAGE, connect, liveTasks } from './apollo.mjs';
import { endsWithItsToken, isFollowed } from './followed.mjs';

test('the sample for Apollo', () =>
  isFollowed((server, userId) => {
    const { client, close } = connect(server.url(), server.url('ws'));
    const following = liveTasks(client, userId);
    return {
      shown: () => client.readQuery({ query: PAGE, variables: { userId } })?.tasks.nodes ?? [],
      end: async () => {
        following.stop();
        client.stop();
        await close();
      },
    };
  }));

test('the sample for Apollo ends with its token', () =>
  endsWithItsToken((server, userId, headers, onState) => {
    const { client, close } = connect(server.url(), server.url('ws'), headers);
    const following = liveTasks(client, userId, onState);
    return async () => {
      following.stop();
      client.stop();
      await close();
    };
  }));
