// Signing in by pasting a token, where the server wants one.

import { type FormEvent, useState } from "react";
import { cleaned } from "./token";
import { Problem } from "../parts/Problem";

interface Props {
  /** Why the last token was not taken, or what ended the session. */
  why: string | null;
  onToken(token: string): void;
}

export function SignIn({ why, onToken }: Props) {
  const [text, setText] = useState("");
  const token = cleaned(text);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (token) onToken(token);
  };
  return (
    <main className="alone">
      <form className="card sign-in" onSubmit={submit}>
        <h1>Sign in</h1>
        <Problem text={why} />
        <label htmlFor="token">Token</label>
        <textarea
          id="token"
          rows={4}
          value={text}
          autoComplete="off"
          spellCheck={false}
          autoFocus
          aria-describedby="token-help"
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => event.key === "Enter" && submit(event)}
        />
        <p id="token-help" className="hint">
          Paste the token that you were given. For development, <code>taskwire token --sub NAME --role admin</code>{" "}
          prints one. It is kept until this tab is closed.
        </p>
        <button type="submit" className="primary" disabled={!token}>
          Sign in
        </button>
      </form>
    </main>
  );
}
