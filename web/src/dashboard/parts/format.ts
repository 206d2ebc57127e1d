// How values are written: times in the reader's zone, durations and bytes as people say them.

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const dayAndClock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const number = new Intl.NumberFormat();

/** Today the time alone, else with its day. */
export function time(at: string, now: number): string {
  const date = new Date(at);
  return date.toDateString() === new Date(now).toDateString() ? clock.format(date) : dayAndClock.format(date);
}

/** As UTC, for who hovers: the server's own words, without what is below a millisecond. */
export const utc = (at: string): string => `${at.slice(0, 10)} ${at.slice(11, 23)} UTC`;

/** 850 ms, 12.4 s, 3 min 20 s, 4 h 5 min, 2 d 3 h. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** In powers of 1024, as PostgreSQL writes it. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [count, 0];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const count = (value: number): string => number.format(value);

/** "1 task", "2 tasks". */
export const counted = (value: number, one: string, many = `${one}s`): string =>
  `${number.format(value)} ${value === 1 ? one : many}`;

/** Of a part from 0 to 1. */
export const percent = (part: number): string => `${Math.round(part * 100)} %`;

export const milliseconds = (value: number): string =>
  value < 10 ? `${value.toFixed(1)} ms` : duration(Math.round(value));
