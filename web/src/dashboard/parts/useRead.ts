// Reads something, and again every so often while the page is looked at.

import type { TypedDocumentNode } from "@urql/core";
import { useCallback, useEffect, useState } from "react";
import { type Failure, failure } from "../session/failure";
import { useSession } from "../session/Session";

export interface Read<Data> {
  /** The last good answer; it stays while a later one fails. */
  readonly data: Data | null;
  readonly problem: Failure | null;
  again(): void;
}

/** `variables` null: nothing is asked for yet. They are compared as JSON. */
export function useRead<Data, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables | null,
  everyMs: number | null = null,
): Read<Data> {
  const { connection, signOut } = useSession();
  const [read, setRead] = useState<{ data: Data | null; problem: Failure | null }>({ data: null, problem: null });
  const [turn, setTurn] = useState(0);
  const again = useCallback(() => setTurn((last) => last + 1), []);
  const key = JSON.stringify(variables);

  useEffect(() => {
    if (variables === null) return;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const next = () => {
      if (everyMs !== null && !isOver) timer = setTimeout(() => (window.document.hidden ? next() : ask()), everyMs);
    };
    const ask = () =>
      connection.ask(document, variables).then(
        (data) => {
          if (!isOver) setRead({ data, problem: null });
          next();
        },
        (reason: unknown) => {
          const problem = failure(reason);
          if (isOver) return;
          if (problem.needsSignIn) return signOut(problem.message);
          setRead(({ data }) => ({ data, problem }));
          if (problem.code !== "GRAPHQL_VALIDATION_FAILED") next();
        },
      );
    void ask();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
    // The variables by their key: the same ones are a new object each time.
  }, [connection, document, everyMs, key, signOut, turn]);
  return { ...read, again };
}
