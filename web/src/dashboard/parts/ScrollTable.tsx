// A small table of figures, which scrolls by itself where it is wider than the page; the keyboard can scroll it, too.

import type { ReactNode } from "react";

interface Props {
  label: string;
  caption: string;
  /** Those of numbers as `["Calls", "number"]`, as their cells have it for a class. */
  columns: readonly (string | readonly [name: string, className: "number"])[];
  /** The rows. */
  children: ReactNode;
}

export function ScrollTable({ label, caption, columns, children }: Props) {
  return (
    <div className="card scrolls" tabIndex={0} role="region" aria-label={label}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => {
              const [name, className] = typeof column === "string" ? [column] : column;
              return (
                <th key={name} scope="col" className={className}>
                  {name}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
