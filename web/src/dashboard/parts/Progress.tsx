// Which step of how many, and how far: a bar where it is known.

interface Props {
  step: number;
  totalSteps: number | null | undefined;
  progress: number | null | undefined;
}

export function Progress({ step, totalSteps, progress }: Props) {
  const steps = totalSteps ? `${step} of ${totalSteps}` : `step ${step}`;
  const percent = progress === null || progress === undefined ? null : Math.round(progress * 100);
  return (
    <span className="progress">
      <span className="progress-text">
        {steps}
        {percent !== null && <span className="progress-percent">{percent} %</span>}
      </span>
      {percent !== null && (
        <span className="progress-bar" aria-hidden="true">
          <span style={{ inlineSize: `${percent}%` }} />
        </span>
      )}
    </span>
  );
}
