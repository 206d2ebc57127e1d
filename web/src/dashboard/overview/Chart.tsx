// Finished tasks per bucket, stacked: failures at the bottom, where they have the same base line and are seen first.
// The same numbers stand in a table for who does not see it.

import type { StatisticsQuery } from "../../gql/operations";
import { count } from "../parts/format";
import { statusName } from "../parts/status";
import { bucketSpan, bucketStart } from "./buckets";

type Point = NonNullable<StatisticsQuery["taskStatistics"]>["series"][number];

const PARTS = [
  ["failed", "FAILED"],
  ["timedOut", "TIMED_OUT"],
  ["cancelled", "CANCELLED"],
  ["completed", "COMPLETED"],
] as const;

const [WIDTH, HEIGHT] = [1000, 180];

const sum = (point: Point): number => PARTS.reduce((total, [key]) => total + point[key], 0);

/** The next round number: 1, 2 or 5 with zeros. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value) ?? value;
}

export function Chart({ series, bucketMs, per }: { series: readonly Point[]; bucketMs: number; per: string }) {
  const top = roundUp(Math.max(1, ...series.map(sum)));
  const width = WIDTH / Math.max(1, series.length);
  const shown = series.filter((point) => sum(point) > 0);
  const [first, middle, last] = [series[0], series[series.length >> 1], series.at(-1)];
  return (
    <figure className="card chart">
      <div className="chart-frame" aria-hidden="true">
        <span className="chart-top">{count(top)}</span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
          <path className="chart-grid" d={`M0 0.5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}`} />
          {series.map((point, index) => (
            <Column
              key={point.start}
              point={point}
              x={index * width}
              width={width}
              top={top}
              title={bucketSpan(point.start, bucketMs)}
            />
          ))}
        </svg>
        <div className="chart-labels">
          {[first, middle, last].map((point) => point && <span key={point.start}>{bucketStart(point.start, bucketMs)}</span>)}
        </div>
      </div>
      <figcaption className="chart-legend" aria-hidden="true">
        {PARTS.map(([key, status]) => (
          <span key={key}>
            <span className={`swatch fill-${key}`} /> {statusName(status)}
          </span>
        ))}
      </figcaption>
      <table className="sr-only">
        <caption>Finished tasks per {per}, where there were any</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            {PARTS.map(([key, status]) => (
              <th key={key} scope="col">
                {statusName(status)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((point) => (
            <tr key={point.start}>
              <th scope="row">{bucketSpan(point.start, bucketMs)}</th>
              {PARTS.map(([key]) => (
                <td key={key}>{point[key]}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

interface ColumnProps {
  point: Point;
  x: number;
  width: number;
  top: number;
  title: string;
}

function Column({ point, x, width, top, title }: ColumnProps) {
  let base = 0;
  const words = PARTS.filter(([key]) => point[key] > 0).map(([key, status]) => `${statusName(status)} ${point[key]}`);
  if (words.length === 0) return null;
  return (
    <g>
      <title>{[title, ...words].join("\n")}</title>
      {PARTS.map(([key]) => {
        const height = (point[key] / top) * HEIGHT;
        base += height;
        return height > 0 ? (
          <rect
            key={key}
            className={`fill-${key}`}
            x={x + width * 0.1}
            y={HEIGHT - base}
            width={width * 0.8}
            height={height}
          />
        ) : null;
      })}
    </g>
  );
}
