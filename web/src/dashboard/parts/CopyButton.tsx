// Copies a text, and says so.

import { useEffect, useState } from "react";

export function CopyButton({ text, label }: { text: () => string; label: string }) {
  const [said, say] = useState<string | null>(null);
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => say(null), 2000);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = () =>
    write(text()).then(
      () => say("Copied"),
      () => say("The browser refused"),
    );
  return (
    <button type="button" className="quiet" onClick={copy} aria-live="polite">
      {said ?? label}
    </button>
  );
}

/** By plain http from another machine a browser has no `clipboard`, though the types say that it has. */
async function write(text: string): Promise<void> {
  const clipboard: Clipboard | undefined = navigator.clipboard;
  if (clipboard) return clipboard.writeText(text);
  // The old way copies by an event, for which nothing has to be selected.
  const put = (event: ClipboardEvent) => {
    event.preventDefault();
    event.clipboardData?.setData("text/plain", text);
  };
  document.addEventListener("copy", put, { once: true });
  const isCopied = document.execCommand("copy");
  document.removeEventListener("copy", put);
  if (!isCopied) throw new Error("The browser has refused to copy.");
}
