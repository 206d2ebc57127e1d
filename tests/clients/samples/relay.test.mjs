// Relay's own compiler and Babel plugin make of the sample what runs, as a front end's build does.
import { test } from 'node:test';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import babel from '@babel/core';
import relay from 'babel-plugin-relay';
import { createOperationDescriptor } from 'relay-runtime';
import { endsWithItsToken, isFollowed } from './followed.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

async function build() {
  execFileSync(here('../node_modules/.bin/relay-compiler'), [here('relay.config.json')], { cwd: here('.') });
  const options = { plugins: [[relay, { eagerEsModules: true }]], configFile: false, filename: here('relay.js') };
  const { code } = babel.transformSync(readFileSync(here('relay.js'), 'utf8'), options);
  writeFileSync(here('relay.built.mjs'), code);
  return import('./relay.built.mjs');
}

test('the sample for Relay', async () => {
  const { PAGE, connect, liveTasks } = await build();
  await isFollowed((server, userId) => {
    const connection = connect(server.url(), server.url('ws'));
    const following = liveTasks(connection, userId);
    const { environment } = connection;
    const page = createOperationDescriptor(PAGE, { userId });
    return {
      shown: () => environment.lookup(page.fragment).data?.tasks?.nodes ?? [],
      end: async () => {
        following.stop();
        await connection.close();
      },
    };
  });
});

test('the sample for Relay ends with its token', async () => {
  const { connect, liveTasks } = await build();
  await endsWithItsToken((server, userId, headers, onState) => {
    const connection = connect(server.url(), server.url('ws'), headers);
    const following = liveTasks(connection, userId, onState);
    return async () => {
      following.stop();
      await connection.close();
    };
  });
});
