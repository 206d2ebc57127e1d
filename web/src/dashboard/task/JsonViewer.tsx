// A JSON value that folds, with a copy button. Long lists and texts are shown in part, until one asks for more.

import { useState } from "react";
import { CopyButton } from "../parts/CopyButton";
import { count, counted } from "../parts/format";

const OPEN_LEVELS = 2;
const ENTRIES = 100;
const TEXT = 500;

export function JsonViewer({ value, label }: { value: unknown; label: string }) {
  return (
    <div className="json" role="group" aria-label={label}>
      <div className="json-head">
        <span>{label}</span>
        <CopyButton label="Copy" text={() => JSON.stringify(value, null, 2)} />
      </div>
      <div className="json-body">
        <Value value={value} level={0} />
      </div>
    </div>
  );
}

function Value({ value, level, name }: { value: unknown; level: number; name?: string | undefined }) {
  const key = name === undefined ? null : <span className="json-key">{name}: </span>;
  if (typeof value === "object" && value !== null) return <Branch value={value} level={level} name={name} />;
  return (
    <div className="json-leaf">
      {key}
      {typeof value === "string" ? <Text text={value} /> : <span className="json-atom">{String(value)}</span>}
    </div>
  );
}

function Text({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(text.length <= TEXT);
  return (
    <span className="json-text">
      {JSON.stringify(isWhole ? text : text.slice(0, TEXT))}
      {!isWhole && (
        <button type="button" className="quiet" onClick={() => setWhole(true)}>
          {counted(text.length - TEXT, "more character")}
        </button>
      )}
    </span>
  );
}

function Branch({ value, level, name }: { value: object; level: number; name?: string | undefined }) {
  const [isOpen, setOpen] = useState(level < OPEN_LEVELS);
  const [shown, setShown] = useState(ENTRIES);
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  const [open, close] = isList ? ["[", "]"] : ["{", "}"];
  if (entries.length === 0) {
    return (
      <div className="json-leaf">
        {name !== undefined && <span className="json-key">{name}: </span>}
        <span className="json-atom">{`${open}${close}`}</span>
      </div>
    );
  }
  const size = isList ? counted(entries.length, "entry", "entries") : counted(entries.length, "key");
  return (
    <div className="json-branch">
      <button type="button" className="json-fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {name !== undefined && <span className="json-key">{name}: </span>}
        {open}
        {!isOpen && (
          <>
            <span className="json-size"> {size} </span>
            {close}
          </>
        )}
      </button>
      {isOpen && (
        <>
          <div className="json-children">
            {entries.slice(0, shown).map(([key, child]) => (
              <Value key={key} value={child} level={level + 1} name={isList ? undefined : key} />
            ))}
            {entries.length > shown && (
              <button type="button" className="quiet" onClick={() => setShown(shown + 10 * ENTRIES)}>
                {count(entries.length - shown)} more
              </button>
            )}
          </div>
          <div className="json-leaf">{close}</div>
        </>
      )}
    </div>
  );
}
