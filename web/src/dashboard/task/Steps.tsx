// The steps as a table, each with what its latest record says.

import { useState } from "react";
import type { StepFragment } from "../../gql/operations";
import { counted, percent } from "../parts/format";
import { Elapsed } from "../parts/Elapsed";
import { Status } from "../parts/Status";
import { Time } from "../parts/Time";
import { JsonViewer } from "./JsonViewer";

interface Props {
  steps: readonly StepFragment[];
  isOver: boolean;
  /** Whether there are steps before these. */
  hasEarlier: boolean;
  onEarlier(): void;
}

export function Steps({ steps, isOver, hasEarlier, onEarlier }: Props) {
  if (steps.length === 0) return null;
  return (
    <section aria-labelledby="steps">
      <h2 id="steps">
        Steps{" "}
        <span className="hint">
          {hasEarlier ? `the last ${counted(steps.length, "step")}` : counted(steps.length, "step")}
        </span>
      </h2>
      <div className="card">
        {hasEarlier && (
          <button type="button" className="quiet" onClick={onEarlier}>
            Earlier steps
          </button>
        )}
        <ol className="steps">
          {steps.map((step) => (
            <StepEntry key={step.id} step={step} isOver={isOver} />
          ))}
        </ol>
      </div>
    </section>
  );
}

function StepEntry({ step, isOver }: { step: StepFragment; isOver: boolean }) {
  const [isOpen, setOpen] = useState(false);
  const { record } = step;
  const hasResult = record.result !== null && record.result !== undefined;
  return (
    <li className="step" value={step.step}>
      <div className="step-head">
        <Status status={step.status} />
        <strong>
          {step.step} {step.name}
        </strong>
        {step.recordCount > 1 && <span className="hint">{counted(step.recordCount, "record")}</span>}
        {step.status === "RUNNING" && record.progress != null && (
          <span className="hint">{percent(record.progress)}</span>
        )}
        <span className="spacer" />
        <span className="step-times">
          {step.startedAt && step.startedAt > step.reportedAt && (
            <>
              waited <Elapsed from={step.reportedAt} to={step.startedAt} isOver />
              {", "}
            </>
          )}
          {step.startedAt
            ? // How long it ran is not known where the task ended before it did.
              (step.finishedAt || !isOver) && (
                <>
                  ran <Elapsed from={step.startedAt} to={step.finishedAt} isOver={isOver} />
                </>
              )
            : !step.finishedAt &&
              !isOver && (
                <>
                  waits <Elapsed from={step.reportedAt} to={null} isOver={isOver} />
                </>
              )}
        </span>
        <Time at={step.startedAt ?? step.reportedAt} />
      </div>
      {record.message && <p className="step-message">{record.message}</p>}
      {(record.errorCode || record.errorMessage) && (
        <p className="step-error">
          {record.errorCode && <code>{record.errorCode}</code>} {record.errorMessage}
        </p>
      )}
      {hasResult && (
        <>
          <button type="button" className="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            {isOpen ? "Hide the result" : "Show the result"}
          </button>
          {isOpen && <JsonViewer label={`Result of step ${step.step}`} value={record.result} />}
        </>
      )}
    </li>
  );
}
