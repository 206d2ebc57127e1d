// How GraphiQL reaches the server that it came from: by HTTP, and for subscriptions by graphql-ws.
import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { print } from "graphql";

import { keptToken } from "../dashboard/session/token";
import { FirstStepsDocument, type FirstStepsQuery } from "../gql/operations";

const URL_PATH = "/graphql";

/** The headers editor's content for a token. */
export const headersOf = (token: string): string => JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2);

/** The token that the headers editor holds. */
export function tokenIn(headers: string): string | null {
  try {
    const [, token] = Object.entries(JSON.parse(headers) as Record<string, unknown>).find(isAuthorization) ?? [];
    return typeof token === "string" ? (/^Bearer (\S+)$/.exec(token)?.[1] ?? null) : null;
  } catch {
    return null; // Half-written.
  }
}

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
  return byRoad(parameters, { ...options, headers });
};

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
