// The controls of the list's filter. Each change goes into the address, and from there into the list.

import { useDeferredValue, useEffect, useRef, useState } from "react";
import { FacetsDocument, UsersDocument } from "../../gql/operations";
import { ReadProblem } from "../parts/Problem";
import { statusName, STATUSES } from "../parts/status";
import { useRead } from "../parts/useRead";
import { atMost, seesEveryone, useSession } from "../session/Session";
import type { TaskStatus } from "../rows";
import { type Filter, isEmpty, NO_FILTER } from "./filter";
import { Menu } from "./Menu";
import { TimeFilter } from "./TimeFilter";

const FACETS_MS = 60_000;
/** Values of a menu, and users that are proposed. */
const ENTRIES = 50;
/** After what time without a key what is typed becomes the filter. */
const TYPED_MS = 250;

interface Props {
  filter: Filter;
  onChange(filter: Filter): void;
}

export function FilterBar({ filter, onChange }: Props) {
  const { viewer } = useSession();
  const variables = { userId: filter.userId || null, first: atMost(ENTRIES, viewer) };
  const read = useRead(FacetsDocument, variables, { everyMs: FACETS_MS });
  const facets = read.data?.taskFacets;
  const set = (part: Partial<Filter>) => onChange({ ...filter, ...part });
  const toggle = (status: TaskStatus) => {
    const statuses = filter.statuses.includes(status)
      ? filter.statuses.filter((other) => other !== status)
      : STATUSES.filter((other) => other === status || filter.statuses.includes(other));
    set({ statuses });
  };
  return (
    <search className="filters">
      <fieldset className="chips">
        <legend className="sr-only">Status</legend>
        {STATUSES.map((status) => (
          <label key={status} className="chip">
            <input type="checkbox" checked={filter.statuses.includes(status)} onChange={() => toggle(status)} />
            <span>{statusName(status)}</span>
          </label>
        ))}
      </fieldset>
      <Typed label="Id begins with" value={filter.idPrefix} onChange={(idPrefix) => set({ idPrefix })} />
      <Menu label="Name" any="Any name" values={facets?.names} value={filter.name} onChange={(name) => set({ name })} />
      <Menu label="Tag" any="Any tag" values={facets?.tags} value={filter.tag} onChange={(tag) => set({ tag })} />
      <Menu
        label="Error"
        any="Any error"
        values={facets?.errorCodes}
        value={filter.errorCode}
        onChange={(errorCode) => set({ errorCode })}
      />
      {seesEveryone(viewer) && <UserFilter value={filter.userId} onChange={(userId) => set({ userId })} />}
      <TimeFilter filter={filter} onChange={set} />
      {!(isEmpty(filter) && filter.userId === "") && (
        <button type="button" className="quiet" onClick={() => onChange(NO_FILTER)}>
          Clear all
        </button>
      )}
      <ReadProblem of={read} />
    </search>
  );
}

function UserFilter({ value, onChange }: { value: string; onChange(value: string): void }) {
  const [typed, setTyped] = useState(value);
  const prefix = useDeferredValue(typed);
  const { viewer } = useSession();
  const users = useRead(UsersDocument, { prefix: prefix || null, first: atMost(ENTRIES, viewer) }).data?.users;
  return (
    <>
      <Typed label="User" value={value} list="users" onChange={onChange} onType={setTyped} />
      <datalist id="users">
        {users?.nodes.map(({ userId }) => (
          <option key={userId} value={userId} />
        ))}
      </datalist>
    </>
  );
}

interface TypedProps {
  label: string;
  value: string;
  list?: string;
  onChange(value: string): void;
  onType?(value: string): void;
}

/** A text that becomes the filter once one stops typing, or at once by Enter. */
function Typed({ label, value, list, onChange, onType }: TypedProps) {
  const [text, setText] = useState(value);
  // It puts the text into the filter as it is when the time is over: a chip may have been clicked meanwhile.
  const latest = useRef(onChange);
  useEffect(() => {
    latest.current = onChange;
  });
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => latest.current(text.trim()), TYPED_MS);
    return () => clearTimeout(timer);
    // A new key starts the time again; another filter does not.
  }, [text]);
  return (
    <label className="field">
      <span className="sr-only">{label}</span>
      <input
        type="search"
        value={text}
        list={list}
        placeholder={label}
        maxLength={255}
        onChange={(event) => {
          setText(event.target.value);
          onType?.(event.target.value);
        }}
        onKeyDown={(event) => event.key === "Enter" && onChange(text.trim())}
      />
    </label>
  );
}
