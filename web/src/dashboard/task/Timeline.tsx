// The steps to scale: hatched while a step waits, filled while it runs. All of it is in the list of steps below, too.

import type { StepFragment } from "../../gql/operations";
import { counted, duration } from "../parts/format";
import { useNow } from "../parts/now";
import { statusClass, statusName } from "../parts/status";
import { at, type Scale, scaleOf, ticks } from "./scale";

const SHOWN = 100;

interface Props {
  steps: readonly StepFragment[];
  isOver: boolean;
  /** Whether there are steps before these. */
  hasEarlier: boolean;
}

export function Timeline(props: Props) {
  const isGoingOn = !props.isOver && props.steps.some((step) => !step.finishedAt);
  if (props.steps.length === 0) return null;
  return (
    <section aria-labelledby="timeline">
      <h2 id="timeline">Timeline</h2>
      {isGoingOn ? <Ticking {...props} /> : <Drawing {...props} now={null} />}
    </section>
  );
}

const Ticking = (props: Props) => <Drawing {...props} now={useNow()} />;

function Drawing({ steps, hasEarlier, now }: Props & { now: number | null }) {
  const shown = steps.slice(-SHOWN);
  const scale = scaleOf(shown, now);
  const isPart = hasEarlier || shown.length < steps.length;
  return (
    <div
      className="card timeline"
      role="img"
      aria-label={`${isPart ? "The last " : ""}${counted(shown.length, "step")} within ${duration(scale.end - scale.start)}`}
    >
      {isPart && <p className="hint">The last {counted(shown.length, "step")}; there are earlier ones.</p>}
      {shown.map((step) => (
        <div key={step.id} className="timeline-row">
          <span className="timeline-name" title={step.name}>
            {step.step} {step.name}
          </span>
          <span className="timeline-track">
            <Bars step={step} scale={scale} />
          </span>
        </div>
      ))}
      <div className="timeline-row timeline-axis">
        <span />
        <span className="timeline-track">
          {ticks(scale).map((ms) => (
            <span key={ms} className="timeline-tick" style={{ insetInlineStart: `${at(scale, scale.start + ms)}%` }}>
              {ms === 0 ? "0" : duration(ms)}
            </span>
          ))}
        </span>
      </div>
      <p className="timeline-legend">
        <span className="swatch waiting" /> waits <span className="swatch running" /> runs
      </p>
    </div>
  );
}

function Bars({ step, scale }: { step: StepFragment; scale: Scale }) {
  const reported = Date.parse(step.reportedAt);
  const end = step.finishedAt ? Date.parse(step.finishedAt) : scale.end;
  // One that was only ever reported as ended shows the moment; one that only waits, waits until now.
  const started = step.startedAt ? Date.parse(step.startedAt) : step.status === "PENDING" ? end : reported;
  const words = [
    statusName(step.status),
    started > reported && `waited ${duration(started - reported)}`,
    step.startedAt && `ran ${duration(end - started)}`,
  ];
  const title = words.filter(Boolean).join(", ");
  return (
    <>
      {started > reported && (
        <span
          className="bar bar-waiting"
          title={title}
          style={{
            insetInlineStart: `${at(scale, reported)}%`,
            inlineSize: `${at(scale, started) - at(scale, reported)}%`,
          }}
        />
      )}
      {step.status !== "PENDING" && (
        <span
          className={`bar ${statusClass(step.status)}`}
          title={title}
          style={{ insetInlineStart: `${at(scale, started)}%`, inlineSize: `${at(scale, end) - at(scale, started)}%` }}
        />
      )}
    </>
  );
}
