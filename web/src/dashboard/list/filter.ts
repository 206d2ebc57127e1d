// The list's filter: in the address, so that it can be kept and sent, and as the server's TaskFilter.
// To add a criterion: a field here, its lines in `read`, `write` and `toInput`, its control in FilterBar.

import type { TaskFilter } from "../../gql/operations";
import { STATUSES } from "../parts/status";
import type { TaskStatus } from "../rows";

export interface Filter {
  readonly userId: string;
  readonly statuses: readonly TaskStatus[];
  readonly name: string;
  readonly tag: string;
  readonly errorCode: string;
  readonly idPrefix: string;
  /** A window that ends now ("1h"), or empty. */
  readonly within: string;
  /** Moments in UTC, or empty. */
  readonly from: string;
  readonly before: string;
}

export const NO_FILTER: Filter = {
  userId: "",
  statuses: [],
  name: "",
  tag: "",
  errorCode: "",
  idPrefix: "",
  within: "",
  from: "",
  before: "",
};

/** The windows that are offered, in hours. */
export const WINDOWS: readonly (readonly [key: string, label: string, hours: number])[] = [
  ["1h", "the last hour", 1],
  ["24h", "the last 24 hours", 24],
  ["7d", "the last 7 days", 24 * 7],
];

const moment = (text: string | null): string => {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? "" : new Date(ms).toISOString();
};

/** From the address; what it does not know, it leaves out. */
export function read(query: URLSearchParams): Filter {
  const asked = (query.get("status") ?? "").toUpperCase().split(",");
  const within = query.get("within") ?? "";
  return {
    userId: query.get("user") ?? "",
    statuses: STATUSES.filter((status) => asked.includes(status)),
    name: query.get("name") ?? "",
    tag: query.get("tag") ?? "",
    errorCode: query.get("error") ?? "",
    idPrefix: query.get("id") ?? "",
    within: WINDOWS.some(([key]) => key === within) ? within : "",
    from: moment(query.get("from")),
    before: moment(query.get("before")),
  };
}

/** As an address. */
export function write(filter: Filter): string {
  const query = new URLSearchParams();
  const values = {
    user: filter.userId,
    status: filter.statuses.join(","),
    name: filter.name,
    tag: filter.tag,
    error: filter.errorCode,
    id: filter.idPrefix,
    within: filter.within,
    from: filter.from,
    before: filter.before,
  };
  for (const [key, value] of Object.entries(values)) if (value) query.set(key, value);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

/** As the server takes it; a window that ends now is fixed here. */
export function toInput(filter: Filter, now: number): TaskFilter {
  const hours = WINDOWS.find(([key]) => key === filter.within)?.[2];
  const from = hours === undefined ? filter.from : new Date(now - hours * 3_600_000).toISOString();
  return {
    ...(filter.statuses.length > 0 && { statuses: [...filter.statuses] }),
    ...(filter.name && { names: [filter.name] }),
    ...(filter.tag && { tags: [filter.tag] }),
    ...(filter.errorCode && { errorCodes: [filter.errorCode] }),
    ...(filter.idPrefix && { taskIdPrefix: filter.idPrefix }),
    ...(from && { createdFrom: from }),
    ...(filter.before && { createdBefore: filter.before }),
  };
}

/** Whether anything is asked for; the user is whose list it is and no criterion. */
export const isEmpty = (filter: Filter): boolean => write({ ...filter, userId: "" }) === "/";
