// Makes src/gql/operations.ts, the typed operations: of each src/**/*.graphql what it asks, what it takes and what comes
// back, checked against ../schema.graphql. By graphql-codegen's core, because its command wants a newer Node.js than Vite.
//
// To add an operation: write it into a .graphql file beside the code that uses it, and import its Document from here.
import { globSync } from "tinyglobby";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { codegen } from "@graphql-codegen/core";
import * as operations from "@graphql-codegen/typescript-operations";
import * as documentNodes from "@graphql-codegen/typed-document-node";
import { buildSchema, parse } from "graphql";

const sources = globSync("src/**/*.graphql").sort();
const documents = await Promise.all(
  sources.map(async (location) => ({ location, document: parse(await readFile(location, "utf8")) })),
);
const schema = await readFile("../schema.graphql", "utf8");
const made = await codegen({
  filename: "operations.ts",
  schema: parse(schema),
  schemaAst: buildSchema(schema),
  documents,
  plugins: [{ operations: {} }, { documentNodes: {} }],
  pluginMap: { operations, documentNodes },
  config: {
    enumType: "string-literal",
    useTypeImports: true,
    strictScalars: true,
    scalars: { DateTime: "string", FeedCursor: "string", JSON: "unknown", SafeInt: "number", UUID: "string" },
  },
});
await mkdir("src/gql", { recursive: true });
await writeFile("src/gql/operations.ts", made);
