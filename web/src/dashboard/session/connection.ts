// The way to the server: queries and mutations by urql over HTTP, subscriptions by graphql-ws over one WebSocket.
// Neither tries again by itself: a subscription that goes on needs a new `after`, which `resume/` knows.
//
// urql keeps no cache here: the list and the task keep the newest states themselves, by `position`.

import { Client, CombinedError, fetchExchange, stringifyDocument, type TypedDocumentNode } from "@urql/core";
import { createClient } from "graphql-ws";
import type { Sink } from "../../resume/resume";
import { failure } from "./failure";

const PATH = "/graphql";
const KEEP_ALIVE_MS = 10_000;
/** Within what time a socket must be ready, and a ping answered. */
const ANSWER_MS = 5_000;
/** How long a query may take: a connection that is only half there never answers it. Longer than the server allows itself. */
const ASK_MS = 45_000;
/** How long the socket stays open without a subscription, so that going from page to page keeps it. */
const LINGER_MS = 3_000;

export interface Connection {
  /** Asks for data; throws a Failure, also where every field of the answer has failed. */
  ask<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Data>;
  change<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Data>;
  /** Delivers events until the function that it gives is called, or an error ends it. */
  watch<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
    sink: Sink<Data>,
  ): () => void;
  close(): void;
}

const fetchInTime: typeof fetch = (input, init) => {
  const signals = [init?.signal, AbortSignal.timeout(ASK_MS)].filter((signal) => signal != null);
  return fetch(input, { ...init, signal: AbortSignal.any(signals) });
};

export function connect(token: string | null): Connection {
  const authorization: Record<string, string> = token === null ? {} : { Authorization: `Bearer ${token}` };
  // A connection that is only half there, after sleep or behind a router that forgot it, tells nothing by itself.
  let deadline: ReturnType<typeof setTimeout> | undefined;
  const answered = () => clearTimeout(deadline);
  const expectAnswer = () => {
    answered();
    deadline = setTimeout(() => socket.terminate(), ANSWER_MS);
  };
  const socket = createClient({
    url: () => `${window.location.origin.replace("http", "ws")}${PATH}`,
    connectionParams: authorization,
    retryAttempts: 0,
    keepAlive: KEEP_ALIVE_MS,
    lazyCloseTimeout: LINGER_MS,
    on: {
      connecting: expectAnswer,
      connected: answered,
      ping: (isReceived) => isReceived || expectAnswer(),
      pong: (isReceived) => isReceived && answered(),
      closed: answered,
    },
  });
  const client = new Client({
    url: PATH,
    preferGetMethod: false,
    requestPolicy: "network-only",
    fetchOptions: { headers: authorization },
    exchanges: [fetchExchange],
  });

  return {
    async ask(document, variables) {
      const { data, error } = await client.query(document, variables, { fetch: fetchInTime }).toPromise();
      // A field that failed by itself is null, and the rest of the answer stands.
      if (error && (!data || Object.values(data).every((value) => value === null))) throw failure(error);
      if (!data) throw failure(new Error("The server gave no answer."));
      return data;
    },
    async change(document, variables) {
      const { data, error } = await client.mutation(document, variables).toPromise();
      if (error || !data) throw failure(error);
      return data;
    },
    watch(document, variables, sink) {
      const request = { query: stringifyDocument(document), variables: { ...variables } };
      return socket.subscribe<never>(request, {
        next: ({ data, errors }) => {
          if (errors) sink.error(new CombinedError({ graphQLErrors: [...errors] }));
          else if (data) sink.next(data);
        },
        error: (reason) => sink.error(Array.isArray(reason) ? new CombinedError({ graphQLErrors: reason }) : reason),
        complete: () => sink.complete(),
      });
    },
    // One that was just being made has nobody left to tell that it failed.
    close: () => void Promise.resolve(socket.dispose()).catch(() => {}),
  };
}
