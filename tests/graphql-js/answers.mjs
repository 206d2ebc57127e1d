// What graphql-js answers to the documents of src/graphql/graphql_js.rs, over the same small schema.
// npm i graphql@16 && node answers.mjs > answers.json   (the answers are committed; this is how they were made)
import { graphql, buildSchema, version } from 'graphql';

const schema = buildSchema(`
  type Query {
    quick: String
    slow: String
    failing: String
    strict: String!
    child: Child
    must: Child!
    children: [Child]
    strictChildren: [Child!]
    limit(limit: Int! = 1000): Int
  }
  type Child { name: String failing: String strict: String! }
  type Mutation { bump: Int failing: Int }
`);

const later = (value) => new Promise((resolve) => setTimeout(() => resolve(value), 20));
const fail = () => { throw new Error('failed'); };
const child = (name, bad) => ({ name, failing: fail, strict: bad ? fail : 'there' });

const documents = [
  ['keys in the order asked', '{ slow quick again: slow }'],
  ['a failed nullable field', '{ quick failing slow }'],
  ['a failed nullable field of a child', '{ child { name failing } quick }'],
  ['a failed non-null field nulls its parent', '{ quick child { name bad: strict } slow }'],
  ['it nulls the next nullable one above', '{ quick must { strict } }'],
  ['of a list it nulls the entry', '{ children { name strict } quick }'],
  ['or the list where entries are non-null', '{ quick strictChildren { name strict } }'],
  ['at the root it nulls all', '{ quick strict }'],
  ['an argument left out', '{ limit }'],
  ['an argument whose variable is left out', 'query($limit: Int) { limit(limit: $limit) }'],
  ['fields asked for twice', '{ child { name } quick child { failing } }'],
  ['fields asked for twice, by fragments', '{ ...A ...B } fragment A on Query { child { name } } fragment B on Query { child { again: name } }'],
  ['a mutation', 'mutation { bump again: bump failing }'],
  ['a mutation asked for twice', 'mutation { bump ...M last: bump } fragment M on Mutation { bump }'],
  ['what is no document', '{ quick'],
  ['a field that is not there', '{ quick nothing }'],
  ['an argument of the wrong type', '{ limit(limit: "1") }'],
  ['null for what must not be null', '{ limit(limit: null) }'],
  ['an operation that is not there', 'query A { quick }', 'B'],
  ['no operation named', 'query A { quick } query B { quick }'],
];

const answers = [];
for (const [about, source, operationName] of documents) {
  let calls = 0;
  const rootValue = {
    quick: 'quick', slow: () => later('slow'), failing: fail, strict: fail,
    child: child('child', true), must: child('must', true),
    children: [child('first', false), child('second', true)],
    strictChildren: [child('first', false), child('second', true)],
    limit: ({ limit }) => limit, bump: () => ++calls,
  };
  const { data, errors } = await graphql({ schema, source, rootValue, operationName });
  answers.push({
    about, source, operationName,
    answer: JSON.stringify(data),
    paths: errors?.map(({ path }) => JSON.stringify(path) ?? null).sort(),
  });
}
console.log(JSON.stringify({ version, answers }, null, 1));
