// The tabs that GraphiQL opens with, filled in with a task and a user that are there.
//
// To add one: a .graphql file beside this one, and a line below. graphql-codegen checks it against the schema.
import type { GraphiQL } from "graphiql";
import type { ComponentProps } from "react";

import type { FirstStepsQuery } from "../../gql/operations";
import cancel from "./cancel.graphql?raw";
import query from "./query.graphql?raw";
import save from "./save.graphql?raw";
import watch from "./watch.graphql?raw";

type Tab = NonNullable<ComponentProps<typeof GraphiQL>["defaultTabs"]>[number];

/** Where nobody has a task yet: the names of the first save in the README. */
const NOBODY = { userId: "anna", taskId: "import-1" };

export function firstTabs(first: FirstStepsQuery | null, headers: string | undefined): Tab[] {
  const task = first?.tasks?.nodes[0];
  const userId = task?.userId ?? first?.viewer.userId ?? NOBODY.userId;
  const taskId = task?.taskId ?? NOBODY.taskId;
  const tab = (text: string, variables: unknown): Tab => ({
    query: text,
    variables: JSON.stringify(variables, null, 2),
    ...(headers === undefined ? {} : { headers }),
  });
  const mutation =
    first?.viewer.maySave === false
      ? tab(cancel, { input: { userId, taskId, reason: "Tried in GraphiQL" } })
      : tab(save, { input: report(userId, task ? "from-graphiql" : taskId) });
  return [tab(query, { userId }), mutation, tab(watch, { userId, taskId })];
}

const report = (userId: string, taskId: string) => ({
  userId,
  taskId,
  step: 1,
  stepResult: { stepName: "Try GraphiQL", status: "RUNNING", progress: 0.4, message: "It works" },
  task: { name: "A first task", totalSteps: 2 },
});
