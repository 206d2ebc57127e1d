// An empty or failed state: what it is, and what to do about it.

import type { ReactNode } from "react";

interface Props {
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

export function Notice({ title, children, action }: Props) {
  return (
    <div className="notice" role="status">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {action}
    </div>
  );
}
