// Tasks that have come into the filter while one was reading: said, and shown when asked for.

import { counted } from "../parts/format";

export function NewTasks({ waiting, onShow }: { waiting: number; onShow(): void }) {
  return (
    <div className="new-tasks" role="status">
      {waiting > 0 && (
        <button type="button" onClick={onShow}>
          {counted(waiting, "new task")}
        </button>
      )}
    </div>
  );
}
