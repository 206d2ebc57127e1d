// A menu of values that tasks have, most frequent first.

interface Props {
  label: string;
  any: string;
  values: readonly { value: string; count: number }[] | null | undefined;
  value: string;
  onChange(value: string): void;
}

export function Menu({ label, any, values, value, onChange }: Props) {
  const isListed = !value || values?.some((entry) => entry.value === value);
  return (
    <label className="field">
      <span className="sr-only">{label}</span>
      <select value={value} data-set={value !== ""} onChange={(event) => onChange(event.target.value)}>
        <option value="">{any}</option>
        {!isListed && <option value={value}>{value}</option>}
        {values?.map((entry) => (
          <option key={entry.value} value={entry.value}>
            {entry.value} ({entry.count})
          </option>
        ))}
      </select>
    </label>
  );
}
