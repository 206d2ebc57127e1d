// Who is signed in, and the way to the server. Everything below has both; until then there is the sign-in, or the word
// that nobody answers.

import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";
import { ViewerDocument, type ViewerQuery } from "../../gql/operations";
import { waitMs } from "../../resume/resume";
import { Notice } from "../parts/Notice";
import { type Connection, connect } from "./connection";
import { failure } from "./failure";
import { SignIn } from "./SignIn";
import { keepToken, keptToken } from "./token";

type Viewer = ViewerQuery["viewer"];

interface Session {
  readonly connection: Connection;
  readonly viewer: Viewer;
  /** Whether a token was needed to come in. */
  readonly isSignedIn: boolean;
  /** Back to the sign-in, which says why. */
  signOut(why: string | null): void;
}

const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("useSession outside of SessionProvider");
  return session;
}

/** Whoever may see everybody's tasks. */
export const seesEveryone = (viewer: Viewer): boolean => viewer.role !== "USER";

/** So many entries of a list, but no more than the server gives at a time. */
export const atMost = (wanted: number, { limits }: Viewer): number => Math.min(wanted, limits.pageSize);

type Stage =
  | { readonly kind: "starting" }
  | { readonly kind: "unreachable"; readonly message: string }
  | { readonly kind: "signIn"; readonly why: string | null }
  | { readonly kind: "ready"; readonly viewer: Viewer };

export function SessionProvider({ children }: { children: ReactNode }) {
  // An object: the same token, pasted once more, is tried once more.
  const [kept, setToken] = useState(() => ({ token: keptToken() }));
  const { token } = kept;
  const [stage, setStage] = useState<Stage>({ kind: "starting" });
  const connection = useMemo(() => connect(kept.token), [kept]);

  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const start = (attempt: number) => {
      connection.ask(ViewerDocument, {}).then(
        ({ viewer }) => isOver || setStage({ kind: "ready", viewer }),
        (reason: unknown) => {
          if (isOver) return;
          const { needsSignIn, message } = failure(reason);
          if (needsSignIn) {
            // Without a token nothing was refused; why the last one was given up stays to be read.
            const why = token === null ? null : message;
            return setStage((last) => (last.kind === "signIn" && why === null ? last : { kind: "signIn", why }));
          }
          setStage({ kind: "unreachable", message });
          timer = setTimeout(() => start(attempt + 1), waitMs(attempt));
        },
      );
    };
    start(0);
    return () => {
      isOver = true;
      clearTimeout(timer);
      connection.close();
    };
  }, [connection, token]);

  const signOut = useCallback((why: string | null) => {
    keepToken(null);
    setStage({ kind: "signIn", why });
    setToken({ token: null });
  }, []);
  const signIn = (pasted: string) => {
    keepToken(pasted);
    setStage({ kind: "starting" });
    setToken({ token: pasted });
  };

  const session = useMemo(
    () => (stage.kind === "ready" ? { connection, viewer: stage.viewer, isSignedIn: token !== null, signOut } : null),
    [connection, stage, token, signOut],
  );
  if (session) return <SessionContext value={session}>{children}</SessionContext>;
  if (stage.kind === "signIn") return <SignIn why={stage.why} onToken={signIn} />;
  if (stage.kind === "unreachable") {
    return (
      <main className="alone">
        <Notice title="The server does not answer">{stage.message} Trying again.</Notice>
      </main>
    );
  }
  return <main className="alone" aria-busy="true" />;
}
