// One of the facts of a `<dl className="facts">`: its name, what it is, and in small what else there is to say.

import type { ReactNode } from "react";

interface Props {
  name: string;
  children: ReactNode;
  more?: ReactNode;
  /** Over the whole width, for what is long. */
  isWide?: boolean;
}

export function Fact({ name, children, more, isWide }: Props) {
  return (
    <div className={isWide ? "wide" : undefined}>
      <dt>{name}</dt>
      <dd>
        {children}
        {more && <span className="hint">{more}</span>}
      </dd>
    </div>
  );
}
