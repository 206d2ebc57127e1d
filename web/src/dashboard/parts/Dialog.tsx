// A modal dialog: the browser's own, which puts the focus on its first field, keeps it inside, and gives it back.

import { type ReactNode, useEffect, useId, useLayoutEffect, useRef } from "react";

interface Props {
  title: string;
  children: ReactNode;
  onClose(): void;
}

export function Dialog({ title, children, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // While it is still in the page: what is only taken out gives no focus back.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  useEffect(
    () => () => {
      // What opened it may be gone with it, as the button to cancel is once a task is cancelled.
      if (document.activeElement === document.body) {
        document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
      }
    },
    [],
  );
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onClose}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}
