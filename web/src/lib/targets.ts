// SPDX-License-Identifier: Apache-2.0
//
// Targets filtered, sorted and grouped for the page.
import type { Target } from '../api/types';
import { formatSeries, matchesSearch } from './format';

export interface Pool {
  name: string;
  targets: Target[];
  up: number;
  total: number;
}

export type HealthFilter = 'all' | Target['health'];

const RANK = { down: 0, unknown: 1, up: 2 } as const;

// Pools with failing targets come first, and in each pool the failing targets. Pools left without
// a target are dropped; `up` and `total` count the whole pool, filtered or not.
export function groupTargets(targets: readonly Target[], filter: string, search: string): Pool[] {
  const pools = new Map<string, Pool>();
  for (const target of targets) {
    const name = target.scrapePool;
    const pool = pools.get(name) ?? { name, targets: [], up: 0, total: 0 };
    pools.set(name, pool);
    pool.total += 1;
    pool.up += target.health === 'up' ? 1 : 0;
    const text = () =>
      `${name} ${target.scrapeUrl} ${formatSeries(target.labels)} ${target.lastError}`;
    if (
      (filter === 'all' || target.health === filter) &&
      (search === '' || matchesSearch(text(), search))
    ) {
      pool.targets.push(target);
    }
  }
  const shown = [...pools.values()].filter((pool) => pool.targets.length > 0);
  for (const pool of shown) {
    pool.targets.sort(
      (a, b) => RANK[a.health] - RANK[b.health] || a.scrapeUrl.localeCompare(b.scrapeUrl),
    );
  }
  const failing = (pool: Pool) => (pool.up < pool.total ? 0 : 1);
  return shown.sort((a, b) => failing(a) - failing(b) || a.name.localeCompare(b.name));
}

// Only web addresses become links: a label may hold any scheme.
export function webAddress(url: string): string | undefined {
  return /^https?:\/\//i.test(url) ? url : undefined;
}
