// Apollo Client 4. What is shown is in its cache, where every component finds it; what arrives goes through `keep`, which
// of two states of a task keeps the newer.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import { follow, inMemory } from '../../../web/src/resume/resume.ts';

const ROW = gql`
  fragment Row on Task { id taskId userId status step position }
`;
export const PAGE = gql`
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
  const isSubscription = ({ operationType }) => operationType === 'subscription';
  const client = new ApolloClient({
    link: ApolloLink.split(isSubscription, new GraphQLWsLink(socket), new HttpLink({ uri: http, headers })),
    cache: new InMemoryCache({
      typePolicies: {
        // `id` is global, so it is the key as it is: nothing to say about Task. A list is told apart by what it asks for, not
        // by its page, and what is written is the whole list.
        Query: { fields: { tasks: { keyArgs: ['userId', 'filter', 'orderBy'], merge: false } } },
        // Has no id, and belongs to its task.
        Cancellation: { keyFields: false, merge: true },
      },
    }),
    // Answers go into the cache by `keep` alone: a mutation's task may be older than what the stream has brought meanwhile.
    defaultOptions: { query: { fetchPolicy: 'no-cache' }, mutate: { fetchPolicy: 'no-cache' } },
  });
  return { client, close: () => socket.dispose() };
}

/**
 * Keeps a user's list of tasks true in the cache, or everybody's. Components read it by
 * `useQuery(PAGE, { variables: { userId }, fetchPolicy: 'cache-only' })`; a mutation's task goes to `keep`. `onState` hears how
 * it stands, for a banner.
 */
export function liveTasks(client, userId, onState = () => {}) {
  const variables = { userId };
  const list = inMemory(({ tasks, feedCursor }) => {
    const page = { __typename: 'TaskConnection', nodes: tasks, feedCursor };
    client.cache.writeQuery({ query: PAGE, variables, data: { tasks: page } });
  });
  const following = follow({
    ...list,
    spansUsers: userId === undefined,
    readPage: async () => {
      const { data } = await client.query({ query: PAGE, variables });
      return { tasks: data.tasks.nodes, feedCursor: data.tasks.feedCursor };
    },
    subscribe: (after, sink) => {
      const changes = client.subscribe({ query: CHANGES, variables: { ...variables, after }, fetchPolicy: 'no-cache' });
      const subscription = changes.subscribe({
        next: ({ data, error }) => (error ? sink.error(error) : sink.next(data.taskChanged)),
        error: sink.error,
        complete: sink.complete,
      });
      return () => subscription.unsubscribe();
    },
    onState,
    isFinal: needsToken,
    isExpired: (reason) => codes(reason).includes('CURSOR_EXPIRED'),
  });
  return { ...following, keep: list.keep };
}

// Only a new token helps then. The link tells the close of a socket by its words alone.
const needsToken = (reason) =>
  codes(reason).includes('UNAUTHENTICATED') || reason?.statusCode === 401 || /event 440[13]\b/.test(reason?.message);
const codes = (reason) => (reason?.errors ?? []).map((error) => error.extensions?.code);
