// Why something is cancelled: as many characters as the server takes.

const CHARACTERS = 1_000;

interface Props {
  label: string;
  value: string;
  onChange(reason: string): void;
}

export function Reason({ label, value, onChange }: Props) {
  return (
    <label className="block">
      {label}
      <input value={value} maxLength={CHARACTERS} onChange={(event) => onChange(event.target.value)} />
    </label>
  );
}
