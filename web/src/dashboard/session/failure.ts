// What can go wrong between the dashboard and the server, told apart by the server's stable codes.

import { CombinedError } from "@urql/core";

/** Closes of a socket that only a new token helps against. */
const SIGN_IN_CLOSES = [4401, 4403];

/** A failed request: `code` as in `extensions.code`, or NETWORK where nobody answered. */
export class Failure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }

  get needsSignIn(): boolean {
    return this.code === "UNAUTHENTICATED";
  }

  /** Whether the same, asked once more, would fail once more. */
  get isFinal(): boolean {
    return ["UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT"].includes(this.code);
  }

  /** Whether an older server does not know a field: what needs it is left out, and not asked for again. */
  get isUnknownField(): boolean {
    return this.code === "GRAPHQL_VALIDATION_FAILED";
  }
}

const isClose = (reason: unknown): reason is { code: number; reason: string } =>
  typeof reason === "object" && reason !== null && "code" in reason && typeof reason.code === "number";

/** Any reason as a Failure. */
export function failure(reason: unknown): Failure {
  if (reason instanceof Failure) return reason;
  if (isClose(reason)) {
    const isSignIn = SIGN_IN_CLOSES.includes(reason.code);
    return new Failure(isSignIn ? "UNAUTHENTICATED" : "NETWORK", reason.reason || "The connection was closed.");
  }
  if (reason instanceof CombinedError) {
    const [first] = reason.graphQLErrors;
    if (first) return new Failure(String(first.extensions.code ?? "UNKNOWN"), first.message);
    if ((reason.response as Response | undefined)?.status === 401) return new Failure("UNAUTHENTICATED", "Sign in.");
    if (reason.networkError && isClose(reason.networkError)) return failure(reason.networkError);
    return new Failure("NETWORK", "The server does not answer.");
  }
  return new Failure("NETWORK", reason instanceof Error ? reason.message : "The server does not answer.");
}
