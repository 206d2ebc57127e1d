// Apollo Client 4 over WebSocket, by graphql-ws. The client's own retries are off: they would begin with the old cursor.
import { test } from 'node:test';
import { ApolloClient, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { resumeLink } from './resume-link.mjs';
import { TASK_EVENTS, resumes, soon } from './resume.mjs';

// Every browser has it, Node since 22; Apollo's link asks for its type.
globalThis.WebSocket ??= WebSocket;

test('Apollo Client over WebSocket resumes', () =>
  resumes((server, variables, onEvent) => {
    const socket = createClient({ url: server.url('ws'), webSocketImpl: WebSocket, retryAttempts: 0 });
    const link = resumeLink(soon).concat(new GraphQLWsLink(socket));
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    const subscription = client
      .subscribe({ query: gql(TASK_EVENTS), variables, fetchPolicy: 'no-cache' })
      .subscribe(({ data, error }) => {
        if (error) throw error;
        onEvent(data.taskEvents);
      });
    return async () => {
      subscription.unsubscribe();
      client.stop();
      await socket.dispose();
    };
  }));
