// urql. The list is kept beside the client, in a Map by id: of two states of a task the newer stays.
import { Client, fetchExchange, gql, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import { pipe, subscribe } from 'wonka';
import { follow, inMemory } from '../../../web/src/resume/resume.ts';

const ROW = gql`
  fragment Row on Task { id taskId userId status step position }
`;
const PAGE = gql`
  query Page($userId: ID) {
    tasks(userId: $userId, orderBy: CREATED_DESC, first: 100) { nodes { ...Row } feedCursor }
  }
  ${ROW}
`;
const CHANGES = gql`
  subscription Changes($userId: ID, $after: FeedCursor) {
    taskChanged(userId: $userId, after: $after) { task { ...Row } matchesFilter feedCursor isReplay }
  }
  ${ROW}
`;

/**
 * A client; `headers` has the `Authorization`. Its sockets do not try again by themselves: that would be with the cursor that
 * they began with.
 */
export function connect(http, ws, headers = {}) {
  const socket = createClient({ url: ws, connectionParams: headers, retryAttempts: 0, lazyCloseTimeout: 0 });
  const forwardSubscription = (request) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ ...request, query: request.query ?? '' }, sink) }),
  });
  const exchanges = [fetchExchange, subscriptionExchange({ forwardSubscription })];
  // By POST: the server would take a query by GET as well, but a list is not to be kept by a proxy.
  const client = new Client({ url: http, fetchOptions: { headers }, preferGetMethod: false, exchanges });
  return { client, close: () => socket.dispose() };
}

/** Keeps a user's list of tasks true, or everybody's, and shows it whenever it has changed. `onState` is for a banner. */
export function liveTasks(client, userId, show, onState = () => {}) {
  const list = inMemory(({ tasks }) => show(tasks));
  const following = follow({
    ...list,
    spansUsers: userId === undefined,
    readPage: async () => {
      const { data, error } = await client.query(PAGE, { userId }, { requestPolicy: 'network-only' }).toPromise();
      if (error) throw error;
      return { tasks: data.tasks.nodes, feedCursor: data.tasks.feedCursor };
    },
    subscribe: (after, sink) => {
      const subscription = pipe(
        client.subscription(CHANGES, { userId, after }),
        subscribe(({ data, error, hasNext }) => {
          if (error) sink.error(error);
          // The end: urql gives its last result once more.
          else if (hasNext === false) sink.complete();
          else sink.next(data.taskChanged);
        }),
      );
      return () => subscription.unsubscribe();
    },
    onState,
    isFinal: needsToken,
    isExpired: (reason) => codes(reason).includes('CURSOR_EXPIRED'),
  });
  return { ...following, keep: list.keep };
}

// Only a new token helps then: of a socket that was closed it is `networkError` that has the code.
const needsToken = (reason) =>
  codes(reason).includes('UNAUTHENTICATED') ||
  reason?.response?.status === 401 ||
  [4401, 4403].includes(reason?.networkError?.code);
const codes = (reason) => (reason?.graphQLErrors ?? []).map((error) => error.extensions?.code);
