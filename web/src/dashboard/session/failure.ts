// What can go wrong between the dashboard and the server, told apart by the server's stable codes.

import { CombinedError } from "@urql/core";

/** Closes of a socket that only a new token helps against. */
const SIGN_IN_CLOSES = [4401, 4403];

/** A failed request: `code` as in `extensions.code`, or NETWORK where nobody answered. */
export class Failure extends Error {
  readonly code: string;
  readonly field: string | undefined;

  constructor(code: string, message: string, field?: string) {
    super(message);
    this.code = code;
    this.field = field;
  }

  get needsSignIn(): boolean {
    return this.code === "UNAUTHENTICATED";
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
    if (first) {
      const { code, field } = first.extensions;
      return new Failure(String(code ?? "UNKNOWN"), first.message, typeof field === "string" ? field : undefined);
    }
    if ((reason.response as Response | undefined)?.status === 401) return new Failure("UNAUTHENTICATED", "Sign in.");
    if (reason.networkError && isClose(reason.networkError)) return failure(reason.networkError);
    return new Failure("NETWORK", "The server does not answer.");
  }
  return new Failure("NETWORK", reason instanceof Error ? reason.message : "The server does not answer.");
}

/** Fields that an older server does not have: what needs them is left out. */
export const isUnknownField = (reason: unknown): boolean => failure(reason).code === "GRAPHQL_VALIDATION_FAILED";
