// Writes each file of dist/ once more by Brotli (.br) and by gzip (.gz): these two are what goes into the program.
// Compressing takes seconds here, once; in Rust's build scripts, which are not optimised, it would take minutes.
import { globSync } from "tinyglobby";
import { readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const brotli = (bytes) =>
  promisify(brotliCompress)(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 10, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });

// The pages last: where they are there, all is (scripts/web).
for (const files of ["dist/assets/**/*", "dist/*.html"]) {
  await Promise.all(globSync(files, { ignore: ["**/*.br", "**/*.gz"] }).map(compress));
}

async function compress(file) {
  const bytes = await readFile(file);
  await writeFile(`${file}.br`, await brotli(bytes));
  await writeFile(`${file}.gz`, await promisify(gzip)(bytes, { level: 9 }));
}
