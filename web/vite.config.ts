import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Everything is a file of its own with a hash in its name: the Content-Security-Policy allows no `data:` and nothing inline.
export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { dashboard: "index.html", graphiql: "graphiql.html" },
      // "use no memo" of GraphiQL speaks to a compiler that we do not use.
      checks: { moduleLevelDirective: false },
    },
    // GraphiQL's editor is large, and loaded by those alone who open it.
    chunkSizeWarningLimit: 5000,
  },
  worker: { format: "es" },
  // `npm run dev`: the pages from here, everything else from a server that runs.
  server: { proxy: { "/graphql": { target: "http://127.0.0.1:8000", ws: true } } },
});
