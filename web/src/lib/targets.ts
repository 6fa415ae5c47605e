// SPDX-License-Identifier: Apache-2.0
//
// Targets grouped for the page, and what their history says in words.
import type { DropReason, HealthCounts, ScrapeHistory, Target } from '../api/types';
import { formatBytes, plural } from './format';

export interface Pool {
  name: string;
  targets: Target[];
  up: number;
  total: number;
}

const NO_COUNTS: HealthCounts = { up: 0, down: 0, unknown: 0 };

export const sumCounts = ({ up, down, unknown }: HealthCounts): number => up + down + unknown;

// The pools of a page's targets, in the order of the page: what fails comes first. `counts` are of
// whole pools, on this page or not.
export function groupTargets(
  targets: readonly Target[],
  counts: Readonly<Record<string, HealthCounts>>,
): Pool[] {
  const pools = new Map<string, Pool>();
  for (const target of targets) {
    const name = target.scrapePool;
    const count = counts[name] ?? NO_COUNTS;
    const pool = pools.get(name) ?? { name, targets: [], up: count.up, total: sumCounts(count) };
    pools.set(name, pool);
    pool.targets.push(target);
  }
  return [...pools.values()];
}

// Names a target among those of a page, wherever it stands.
export function targetKey({ scrapePool, scrapeUrl, labels }: Target): string {
  return JSON.stringify([scrapePool, scrapeUrl, Object.entries(labels).sort()]);
}

// Only web addresses become links: a label may hold any scheme.
export function webAddress(url: string): string | undefined {
  return /^https?:\/\//i.test(url) ? url : undefined;
}

export const DROP_REASONS: ReadonlyArray<readonly [DropReason, string]> = [
  ['failedScrapes', 'their scrape failed'],
  ['relabelling', 'metric relabelling drops them'],
  ['duplicateTimestamp', 'another value with the same time was there'],
  ['outOfOrder', 'older than what is stored of their series'],
  ['outOfBounds', 'their time is too far from now'],
];

// "3 of 120 scrapes failed, 1,200 samples dropped": what is worth a look, or how many scrapes went
// well. What relabelling drops is meant to go.
export function summarise({ scrapes, failedScrapes, droppedSamples }: ScrapeHistory): string {
  const dropped = DROP_REASONS.filter(([reason]) => reason !== 'relabelling').reduce(
    (sum, [reason]) => sum + droppedSamples[reason],
    0,
  );
  const parts = [];
  if (failedScrapes > 0) {
    parts.push(`${failedScrapes.toLocaleString('en')} of ${plural(scrapes, 'scrape')} failed`);
  }
  if (dropped > 0) {
    parts.push(`${plural(dropped, 'sample')} dropped`);
  }
  return parts.length > 0 ? parts.join(', ') : `${plural(scrapes, 'scrape')}, none failed`;
}

export interface SizeRow {
  what: string;
  size: string;
  limit: string;
  // How much of the limit is taken; null without a limit or a size.
  share: number | null;
}

// What the last scrape took beside what it may take. Of labels only the limits are known.
export function sizesAgainstLimits(target: Target): SizeRow[] {
  const { lastScrape, limits } = target.history;
  const row = (
    what: string,
    size: number | null,
    limit: number | null,
    format: (n: number) => string,
  ): SizeRow => {
    const share = size === null || limit === null ? null : size < 0 ? Infinity : size / limit;
    return {
      what,
      size: size === null ? '' : size < 0 ? 'more' : format(size),
      limit: limit === null ? 'none' : format(limit),
      share,
    };
  };
  const count = (n: number) => n.toLocaleString('en');
  const labels: ReadonlyArray<readonly [string, number | null]> = [
    ['Labels of a sample', limits.labels],
    ['Length of a label name', limits.labelNameLength],
    ['Length of a label value', limits.labelValueLength],
  ];
  return [
    row('Body, uncompressed', lastScrape.bodyBytes, limits.bodySize, formatBytes),
    row('Samples after relabelling', lastScrape.samplesAfterRelabelling, limits.samples, count),
    ...labels
      .filter(([, limit]) => limit !== null)
      .map(([what, limit]) => row(what, null, limit, count)),
  ];
}
