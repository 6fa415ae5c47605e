// SPDX-License-Identifier: Apache-2.0
//
// Drops what package-lock.json records about funding, so that the file names no address at all.
// `npm ci` does not need it. Run through `npm run lock` after changing a dependency.
import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8'));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
}
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
