// The three places of the dashboard, by the browser's own history: `/`, `/tasks/:userId/:taskId`, `/overview`.
// To add one: its pattern in `place`, its view in App.

import { type AnchorHTMLAttributes, type MouseEvent, useSyncExternalStore } from "react";

type Place =
  | { readonly view: "list" }
  | { readonly view: "task"; readonly userId: string; readonly taskId: string }
  | { readonly view: "overview" }
  | { readonly view: "nowhere" };

const CHANGED = "taskwire:place";

export function place(pathname: string): Place {
  if (pathname === "/") return { view: "list" };
  if (pathname === "/overview") return { view: "overview" };
  const [, userId, taskId] = /^\/tasks\/([^/]+)\/([^/]+)$/.exec(pathname) ?? [];
  if (userId === undefined || taskId === undefined) return { view: "nowhere" };
  try {
    return { view: "task", userId: decodeURIComponent(userId), taskId: decodeURIComponent(taskId) };
  } catch {
    return { view: "nowhere" };
  }
}

export const taskPath = (userId: string, taskId: string): string =>
  `/tasks/${encodeURIComponent(userId)}/${encodeURIComponent(taskId)}`;

function subscribe(listener: () => void): () => void {
  window.addEventListener("popstate", listener);
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener("popstate", listener);
    window.removeEventListener(CHANGED, listener);
  };
}

/** Path and query of the address, as one text: it is compared. */
export const useAddress = (): URL =>
  new URL(
    useSyncExternalStore(subscribe, () => `${window.location.pathname}${window.location.search}`),
    window.location.origin,
  );

export function go(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") window.history.pushState(null, "", to);
  else window.history.replaceState(null, "", to);
  window.dispatchEvent(new Event(CHANGED));
}

/** A link within the dashboard. What opens a new tab is left to the browser. */
export function Link({ href, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const onClick = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button !== 0) return;
    event.preventDefault();
    go(href);
  };
  return <a href={href} onClick={onClick} {...rest} />;
}
