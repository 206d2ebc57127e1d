// Tasks that have come into the filter while one was reading: said, and shown when asked for.

import { useLayoutEffect, useRef } from "react";
import { counted } from "../parts/format";

export function NewTasks({ waiting, onShow }: { waiting: number; onShow(): void }) {
  const status = useRef<HTMLDivElement>(null);
  const hasFocus = useRef(false);
  const isShown = waiting > 0;
  // The focus would be lost with the button. From here the next stop is the table.
  useLayoutEffect(() => {
    if (!isShown && hasFocus.current) status.current?.focus({ preventScroll: true });
  }, [isShown]);
  const track = (is: boolean) => () => {
    hasFocus.current = is;
  };
  return (
    <div ref={status} className="new-tasks" role="status" tabIndex={-1} onFocus={track(true)} onBlur={track(false)}>
      {isShown && (
        <button type="button" onClick={onShow}>
          {counted(waiting, "new task")}
        </button>
      )}
    </div>
  );
}
