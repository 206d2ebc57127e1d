// When the tasks were created: a window that ends now, or from one moment to another, in the reader's zone.

import { useState } from "react";
import { type Filter, WINDOWS } from "./filter";

interface Props {
  filter: Filter;
  onChange(part: Partial<Filter>): void;
}

/** As `datetime-local` wants it: the reader's time without a zone. */
function local(at: string): string {
  if (!at) return "";
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

const instant = (text: string): string => (text ? new Date(text).toISOString() : "");

export function TimeFilter({ filter, onChange }: Props) {
  const isSet = filter.from !== "" || filter.before !== "";
  const [isOwn, setOwn] = useState(isSet);
  const choose = (key: string) => {
    setOwn(key === "own");
    onChange({ within: key === "own" ? "" : key, from: "", before: "" });
  };
  return (
    <>
      <label className="field">
        <span className="sr-only">Created</span>
        <select
          value={isOwn || isSet ? "own" : filter.within}
          data-set={filter.within !== "" || isSet}
          onChange={(event) => choose(event.target.value)}
        >
          <option value="">Any time</option>
          {WINDOWS.map(([key, label]) => (
            <option key={key} value={key}>
              {label.charAt(0).toUpperCase() + label.slice(1)}
            </option>
          ))}
          <option value="own">From … to …</option>
        </select>
      </label>
      {(isOwn || isSet) && (
        <>
          <label className="field">
            <span className="sr-only">Created from</span>
            <input
              type="datetime-local"
              value={local(filter.from)}
              onChange={(event) => onChange({ from: instant(event.target.value) })}
            />
          </label>
          <label className="field">
            <span className="sr-only">Created before</span>
            <input
              type="datetime-local"
              value={local(filter.before)}
              onChange={(event) => onChange({ before: instant(event.target.value) })}
            />
          </label>
        </>
      )}
    </>
  );
}
