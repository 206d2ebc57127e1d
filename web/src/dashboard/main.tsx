// The dashboard's beginning.

import { createRoot } from "react-dom/client";
import { App } from "./App";
import { SessionProvider } from "./session/Session";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/list.css";
import "./styles/task.css";
import "./styles/overview.css";

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <SessionProvider>
      <App />
    </SessionProvider>,
  );
}
