import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";

const root = document.getElementById("root");
const fetcher = createGraphiQLFetcher({ url: "/graphql" });
if (root) createRoot(root).render(<GraphiQL fetcher={fetcher} plugins={[explorerPlugin()]} />);
