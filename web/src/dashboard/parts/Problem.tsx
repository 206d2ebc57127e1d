// What went wrong in a form or with what is read, told to screen readers at once.

import type { Read } from "./useRead";

export function Problem({ text }: { text: string | null }) {
  if (!text) return null;
  return (
    <p className="problem" role="alert">
      {text}
    </p>
  );
}

/** That something could not be read; what was read before may be shown all the same. */
export function ReadProblem({ of: { data, problem } }: { of: Read<unknown> }) {
  const words = [problem?.message, data != null && "What is shown may be out of date."];
  return <Problem text={problem && words.filter(Boolean).join(" ")} />;
}
