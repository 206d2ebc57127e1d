// Apollo Client 4 over HTTP alone: its HttpLink asks for a subscription as multipart.
import { test } from 'node:test';
import { ApolloClient, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { resumeLink } from './resume-link.mjs';
import { TASK_EVENTS, resumes, soon } from './resume.mjs';

test('Apollo Client over multipart resumes', () =>
  resumes((server, variables, onEvent) => {
    const link = resumeLink(soon).concat(new HttpLink({ uri: server.url() }));
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    const subscription = client
      .subscribe({ query: gql(TASK_EVENTS), variables, fetchPolicy: 'no-cache' })
      .subscribe(({ data, error }) => {
        if (error) throw error;
        onEvent(data.taskEvents);
      });
    return () => {
      subscription.unsubscribe();
      client.stop();
    };
  }));
