// How GraphiQL reaches the server that it came from: by HTTP, and for subscriptions by graphql-ws.
import { createGraphiQLFetcher, type Fetcher, type FetcherParams } from "@graphiql/toolkit";
import { type DocumentNode, Kind, parse, print } from "graphql";

import { keptToken } from "../dashboard/session/token";
import { FirstStepsDocument, type FirstStepsQuery } from "../gql/operations";

const URL_PATH = "/graphql";

/** The headers editor's content for a token. */
export const headersOf = (token: string): string => JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2);

const isAuthorization = ([name]: [string, unknown]) => name.toLowerCase() === "authorization";

const byRoad = createGraphiQLFetcher({
  url: URL_PATH,
  subscriptionUrl: `${location.origin.replace(/^http/, "ws")}${URL_PATH}`,
});

/**
 * What the headers editor says goes along, on a socket in connection_init. Where it names no token, as in a new tab, the one
 * that was pasted when the page was opened does.
 */
export const fetcher: Fetcher = (parameters, options) => {
  const headers: Record<string, unknown> = { ...options?.headers };
  const token = keptToken();
  if (token !== null && !Object.entries(headers).some(isAuthorization)) headers["Authorization"] = `Bearer ${token}`;
  const document = documentOf(parameters.query) ?? options?.documentAST;
  return byRoad(named(parameters, document), { ...options, headers, ...(document && { documentAST: document }) });
};

function documentOf(query: string): DocumentNode | undefined {
  try {
    return parse(query, { noLocation: true });
  } catch {
    return undefined; // The server says what is wrong with it.
  }
}

/** GraphiQL names the operation of the tab before for a moment after one has changed tabs. The only one is meant. */
function named(parameters: FetcherParams, document: DocumentNode | undefined): FetcherParams {
  const operations = document?.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION) ?? [];
  const [only, ...others] = operations;
  if (only?.kind !== Kind.OPERATION_DEFINITION || others.length > 0) return parameters;
  return { ...parameters, operationName: only.name?.value ?? null };
}

/** Null where the server wants to know who asks; the answer's data otherwise, or undefined where there is none. */
export async function firstSteps(): Promise<FirstStepsQuery | null | undefined> {
  const token = keptToken();
  const answer = await fetch(URL_PATH, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/graphql-response+json, application/json;q=0.9",
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query: print(FirstStepsDocument) }),
  });
  if (answer.status === 401) return null;
  return ((await answer.json()) as { data?: FirstStepsQuery }).data;
}
