// Where the server wants to know who asks: a token, pasted, and kept for as long as the tab is open.
import type { FormEvent } from "react";

import { cleaned } from "../dashboard/session/token";

export function SignIn({ refused, onToken }: { refused: boolean; onToken: (token: string) => void }) {
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = cleaned(String(new FormData(event.currentTarget).get("token")));
    if (token !== "") onToken(token);
  };
  return (
    <main className="sign-in">
      <form onSubmit={send}>
        <h1>GraphiQL</h1>
        <p>
          {refused
            ? "The server does not take this token, or not any more. Paste another one."
            : "This server wants to know who asks. Paste a token; it is forgotten when you close the tab."}
        </p>
        <label>
          Token
          <input name="token" type="password" autoComplete="off" spellCheck={false} autoFocus required />
        </label>
        <button type="submit">Sign in</button>
      </form>
    </main>
  );
}
