// Reads something, and again every so often while the page is looked at. Its problem is for the caller to show: `ReadProblem`.

import type { TypedDocumentNode } from "@urql/core";
import { useEffect, useState } from "react";
import { type Failure, failure } from "../session/failure";
import { useSession } from "../session/Session";

export interface Read<Data> {
  /** The last good answer; it stays while a later one fails, but not once something else is asked for. */
  readonly data: Data | null;
  readonly problem: Failure | null;
}

interface Options {
  /** Once, if left out. */
  everyMs?: number;
  /** What the answer is about, if other variables may ask for the same: a window that goes with the time. */
  about?: string;
}

const NOTHING = { data: null, problem: null };

/** `variables` null: nothing is asked for now. They are compared as JSON. */
export function useRead<Data, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables | null,
  { everyMs, about }: Options = {},
): Read<Data> {
  const { connection, signOut } = useSession();
  const key = JSON.stringify(variables);
  const subject = about ?? key;
  const [read, setRead] = useState<Read<Data> & { subject: string }>({ ...NOTHING, subject });

  useEffect(() => {
    if (variables === null) return;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const next = () => {
      if (everyMs === undefined) return;
      timer = setTimeout(() => (window.document.hidden ? next() : ask()), everyMs);
    };
    const ask = () =>
      connection.ask(document, variables).then(
        (data) => {
          if (isOver) return;
          setRead({ data, problem: null, subject });
          next();
        },
        (reason: unknown) => {
          if (isOver) return;
          const problem = failure(reason);
          if (problem.needsSignIn) return signOut(problem.message);
          setRead((last) => ({ data: last.subject === subject ? last.data : null, problem, subject }));
          if (!problem.isUnknownField) next();
        },
      );
    void ask();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
    // The variables by their key: the same ones are a new object each time.
  }, [connection, document, everyMs, key, signOut, subject]);
  // Never under the name of something else.
  return read.subject === subject ? read : NOTHING;
}
