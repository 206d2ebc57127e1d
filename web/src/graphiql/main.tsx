// GraphiQL, with everything that it needs in this bundle: Monaco's workers too.
import "graphiql/setup-workers/vite";

// Each part's own styles: "graphiql/style.css" has fonts in `data:` addresses, which the policy does not allow.
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "@graphiql/plugin-explorer/style.css";
import "graphiql/graphiql.css";
import "./page.css";

import { createRoot } from "react-dom/client";

import { Page } from "./Page";

const root = document.getElementById("root");
if (root) createRoot(root).render(<Page />);
