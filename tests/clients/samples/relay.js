// Relay. What is shown is in its store, where every component finds it; a state of a task gets there by `inMemory` alone,
// which shows the newer of two. (`fetchQuery` and `requestSubscription` would write whatever comes last.)
import { Environment, Network, RecordSource, Store, createOperationDescriptor, graphql } from 'relay-runtime';
import { createClient } from 'graphql-ws';
import { follow, inMemory } from '../../../web/src/resume/resume.ts';

export const PAGE = graphql`
  query relayPageQuery($userId: ID) {
    tasks(userId: $userId, orderBy: CREATED_DESC, first: 100) {
      nodes { id taskId userId status step position }
      feedCursor
    }
  }
`;
const CHANGES = graphql`
  subscription relayChangesSubscription($userId: ID, $after: FeedCursor) {
    taskChanged(userId: $userId, after: $after) {
      task { id taskId userId status step position }
      matchesFilter
      feedCursor
      isReplay
    }
  }
`;

/**
 * An environment; `headers` has the `Authorization`. Its sockets do not try again by themselves: that would be with the cursor that
 * they began with.
 */
export function connect(http, ws, headers = {}) {
  const socket = createClient({ url: ws, connectionParams: headers, retryAttempts: 0, lazyCloseTimeout: 0 });
  const ask = async ({ text }, variables) => {
    const body = JSON.stringify({ query: text, variables });
    const response = await fetch(http, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body });
    return response.json();
  };
  const environment = new Environment({ network: Network.create(ask), store: new Store(new RecordSource()) });
  return { environment, ask, socket, close: () => socket.dispose() };
}

/**
 * Keeps a user's list of tasks true in the store, or everybody's. Components read it by
 * `useLazyLoadQuery(PAGE, { userId }, { fetchPolicy: 'store-only' })`; a mutation's task goes to `keep`. `onState` hears how
 * it stands, for a banner.
 */
export function liveTasks({ environment, ask, socket }, userId, onState = () => {}) {
  const variables = { userId };
  const page = createOperationDescriptor(PAGE, variables);
  // As long as the list is shown: else the store may let go of it.
  const retained = environment.retain(page);
  const list = inMemory(({ tasks, feedCursor }) => {
    environment.commitPayload(page, { tasks: { nodes: tasks, feedCursor } });
  });
  const following = follow({
    ...list,
    spansUsers: userId === undefined,
    readPage: async () => {
      const { data, errors } = await ask(PAGE.params, variables);
      if (errors) throw errors;
      return { tasks: data.tasks.nodes, feedCursor: data.tasks.feedCursor };
    },
    subscribe: (after, sink) =>
      socket.subscribe(
        { query: CHANGES.params.text, variables: { ...variables, after } },
        { ...sink, next: ({ data, errors }) => (errors ? sink.error(errors) : sink.next(data.taskChanged)) },
      ),
    onState,
    isFinal: needsToken,
    isExpired: (reason) => codes(reason).includes('CURSOR_EXPIRED'),
  });
  const stop = () => {
    following.stop();
    retained.dispose();
  };
  return { ...following, keep: list.keep, stop };
}

// Only a new token helps then: the errors of an answer say so, or the code with which a socket was closed.
const needsToken = (reason) => codes(reason).includes('UNAUTHENTICATED') || [4401, 4403].includes(reason?.code);
const codes = (reason) => (Array.isArray(reason) ? reason : []).map((error) => error.extensions?.code);
