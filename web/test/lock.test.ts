// SPDX-License-Identifier: Apache-2.0
//
// What package-lock.json promises: everything runs on Debian 12's Node, and no address is recorded.
import { readFileSync } from 'node:fs';
import { satisfies } from 'semver';
import { describe, expect, it } from 'vitest';

const OLDEST_NODE = '18.20.0';

const text = readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8');
const lock = JSON.parse(text) as {
  packages: Record<string, { version?: string; engines?: { node?: string } }>;
};

describe('package-lock.json', () => {
  it(`locks only packages that accept Node ${OLDEST_NODE}`, () => {
    const packages = Object.entries(lock.packages);
    expect(packages.length).toBeGreaterThan(50);
    const refusing = packages
      .filter(([, { engines }]) => engines?.node && !satisfies(OLDEST_NODE, engines.node))
      .map(([path, { version, engines }]) => `${path} ${version} wants ${engines?.node}`);
    expect(refusing).toEqual([]);
  });

  it('records no addresses (npm run lock removes them)', () => {
    expect(text).not.toMatch(/"resolved"|[a-z]+:\/\//);
  });
});
