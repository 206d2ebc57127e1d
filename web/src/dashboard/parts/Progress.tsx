// Which step of how many, and how far: a bar where it is known.

import { percent } from "./format";

interface Props {
  step: number;
  totalSteps: number | null | undefined;
  progress: number | null | undefined;
}

export function Progress({ step, totalSteps, progress }: Props) {
  const steps = totalSteps ? `${step} of ${totalSteps}` : `step ${step}`;
  const part = progress == null ? null : percent(progress);
  return (
    <span className="progress">
      <span className="progress-text">
        {steps}
        {part && <span className="progress-percent">{part}</span>}
      </span>
      {progress != null && (
        <span className="progress-bar" aria-hidden="true">
          <span style={{ inlineSize: `${progress * 100}%` }} />
        </span>
      )}
    </span>
  );
}
