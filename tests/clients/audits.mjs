// The audits of `graphql-http` for GraphQL over HTTP, all of them, by default settings:
//     node audits.mjs URL [WANTED]
// Prints a line for each. Ends with 1 unless WANTED audits (61 of version 1.23.1) are there and each says ok.

import { auditServer } from 'graphql-http';

const [url, wanted = '61'] = process.argv.slice(2);
if (!url) {
  console.error('usage: node audits.mjs URL [WANTED]');
  process.exit(2);
}

const results = await auditServer({ url });
for (const { id, name, status, reason } of results) {
  console.log([status, id, name, reason].filter(Boolean).join(' '));
}
const passed = results.filter(({ status }) => status === 'ok').length;
console.log(`${passed} of ${results.length} audits are ok; ${wanted} are wanted`);
process.exit(passed === results.length && results.length === Number(wanted) ? 0 : 1);
