// Every record of the task, newest last, as it was reported. Late ones are marked: they came after the task had been
// cancelled, and did not move it.

import { useState } from "react";
import type { EntryFragment } from "../../gql/operations";
import { counted, percent } from "../parts/format";
import { Status } from "../parts/Status";
import { Time } from "../parts/Time";
import { JsonViewer } from "./JsonViewer";

/** Drawn at first; a task may have many thousands. */
const SHOWN = 50;

const KINDS: Record<string, string> = {
  CANCELLATION_REQUESTED: "Cancellation requested",
  CANCELLATION_ACKNOWLEDGED: "Cancellation answered",
  REPORT_OVERDUE: "Report overdue",
};

interface Props {
  entries: readonly EntryFragment[];
  hasOlder: boolean;
  onOlder(): void;
}

export function History({ entries, hasOlder, onOlder }: Props) {
  const [shown, setShown] = useState(SHOWN);
  const hidden = Math.max(0, entries.length - shown);
  const older = () => {
    setShown(shown + 200);
    if (hidden < 200 && hasOlder) onOlder();
  };
  return (
    <section aria-labelledby="history">
      <h2 id="history">
        History{" "}
        <span className="hint">
          {hasOlder ? `the last ${counted(entries.length, "record")}` : counted(entries.length, "record")}
        </span>
      </h2>
      <div className="card history">
        {(hidden > 0 || hasOlder) && (
          <button type="button" className="quiet" onClick={older}>
            Older records
          </button>
        )}
        <ol>
          {entries.slice(hidden).map((entry) => (
            <Entry key={entry.id} entry={entry} />
          ))}
        </ol>
      </div>
    </section>
  );
}

function Entry({ entry }: { entry: EntryFragment }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <li className={entry.isLate ? "entry entry-late" : "entry"} data-position={entry.position}>
      <div className="entry-head">
        <span className="entry-position" title="Its position in the user's feed">
          #{entry.position}
        </span>
        {entry.kind === "STEP" ? (
          <>
            <Status status={entry.status} />
            <span>
              {entry.step} {entry.stepName}
            </span>
          </>
        ) : (
          <strong>{KINDS[entry.kind] ?? entry.kind}</strong>
        )}
        {entry.isLate && (
          <span className="late" title="Reported after the task was cancelled: kept, but it does not move the task">
            Late
          </span>
        )}
        {entry.progress != null && <span className="hint">{percent(entry.progress)}</span>}
        <span className="entry-message">
          {entry.errorCode && <code>{entry.errorCode}</code>} {entry.errorMessage || entry.message}
        </span>
        <span className="spacer" />
        <Time at={entry.recordedAt} />
        <button type="button" className="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Less" : "All of it"}
          <span className="sr-only"> of record {entry.position}</span>
        </button>
      </div>
      {isOpen && <JsonViewer label={`Record ${entry.position}`} value={entry} />}
    </li>
  );
}
