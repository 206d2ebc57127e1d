// GraphiQL, once it is known who asks.
import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { GraphiQL } from "graphiql";
import { useEffect, useState } from "react";

import { keepToken, keptToken } from "../dashboard/session/token";
import type { FirstStepsQuery } from "../gql/operations";
import { SignIn } from "./SignIn";
import { fetcher, firstSteps, headersOf } from "./server";
import { firstTabs } from "./tabs";

const PLUGINS = [HISTORY_PLUGIN, explorerPlugin()];
/** Where GraphiQL keeps the tabs of somebody who has been here before. */
const KEPT_TABS = "graphiql:tabState";

type State = { is: "asking" } | { is: "signedOut"; refused: boolean } | { is: "ready"; first: FirstStepsQuery | null };

export function Page() {
  const [state, setState] = useState<State>({ is: "asking" });
  const ask = async () => {
    try {
      const first = await firstSteps();
      setState(first === null ? { is: "signedOut", refused: keptToken() !== null } : { is: "ready", first: first ?? null });
    } catch {
      setState({ is: "ready", first: null }); // GraphiQL itself says that the server cannot be reached.
    }
  };
  useEffect(() => void ask(), []);

  if (state.is === "asking") return null;
  if (state.is === "signedOut") {
    const signIn = (token: string) => {
      keepToken(token);
      void ask();
    };
    return <SignIn refused={state.refused} onToken={signIn} />;
  }
  const token = keptToken();
  const headers = token === null ? undefined : headersOf(token);
  const tabs = firstTabs(state.first, headers);
  // Of the tab that is open at first GraphiQL takes the query alone.
  const variables = localStorage.getItem(KEPT_TABS) === null ? tabs[0]?.variables : undefined;
  return (
    <GraphiQL
      fetcher={fetcher}
      plugins={PLUGINS}
      defaultTabs={tabs}
      {...(typeof variables === "string" ? { initialVariables: variables } : {})}
      {...(headers === undefined ? {} : { initialHeaders: headers, defaultHeaders: headers })}
      defaultEditorToolsVisibility="variables"
    >
      <GraphiQL.Logo>
        <a className="home" href="/">
          Taskwire
        </a>
        {token !== null && <SignOut />}
      </GraphiQL.Logo>
    </GraphiQL>
  );
}

function SignOut() {
  const signOut = () => {
    keepToken(null);
    location.reload();
  };
  return (
    <button className="sign-out" type="button" onClick={signOut}>
      Sign out
    </button>
  );
}
