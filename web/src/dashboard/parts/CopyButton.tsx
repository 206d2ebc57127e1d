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
    navigator.clipboard.writeText(text()).then(
      () => say("Copied"),
      () => say("The browser refused"),
    );
  return (
    <button type="button" className="quiet" onClick={copy} aria-live="polite">
      {said ?? label}
    </button>
  );
}
