// The types that several views share, under short names.

import type { TaskRowFragment, TaskStatus } from "../gql/operations";

export type Row = TaskRowFragment;
export type { TaskStatus };
