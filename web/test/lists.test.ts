// SPDX-License-Identifier: Apache-2.0
//
// Targets and rules as their pages order and filter them.
import { describe, expect, it } from 'vitest';
import type {
  AlertingRule,
  RecordingRule,
  RuleGroup,
  ScrapeHistory,
  Target,
} from '../src/api/types';
import { changedLabels, ruleText } from '../src/lib/relabelling';
import { countStates, filterGroups, onlyAlerting } from '../src/lib/rules';
import { groupTargets, sizesAgainstLimits, summarise, targetKey } from '../src/lib/targets';

function target(
  scrapePool: string,
  url: string,
  health: Target['health'],
  history: Partial<ScrapeHistory> = {},
): Target {
  return {
    scrapePool,
    scrapeUrl: url,
    globalUrl: url,
    health,
    labels: { job: scrapePool },
    discoveredLabels: {},
    lastError: health === 'down' ? 'connection refused' : '',
    lastScrape: '',
    lastScrapeDuration: 0,
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
    history: {
      scrapes: 0,
      failedScrapes: 0,
      failures: [],
      droppedSamples: {
        relabelling: 0,
        outOfOrder: 0,
        duplicateTimestamp: 0,
        outOfBounds: 0,
        failedScrapes: 0,
      },
      lastScrape: { bodyBytes: 0, samples: 0, samplesAfterRelabelling: 0, seriesAdded: 0 },
      limits: {
        bodySize: null,
        samples: null,
        labels: null,
        labelNameLength: null,
        labelValueLength: null,
      },
      ...history,
    },
  };
}

const { history: NEVER_SCRAPED } = target('', '', 'unknown');

describe('targets', () => {
  const targets = [
    target('beta', 'http://b3', 'down'),
    target('gamma', 'http://g', 'unknown'),
    target('beta', 'http://b1', 'up'),
  ];

  it('are grouped in the order of the page, with the counts of whole pools', () => {
    const counts = { beta: { up: 7, down: 1, unknown: 2 } };
    const pools = groupTargets(targets, counts);
    expect(pools.map((pool) => pool.targets.map((one) => one.scrapeUrl))).toEqual([
      ['http://b3', 'http://b1'],
      ['http://g'],
    ]);
    expect(pools[0]).toMatchObject({ name: 'beta', up: 7, total: 10 });
    expect(pools[1]).toMatchObject({ name: 'gamma', up: 0, total: 0 });
  });

  it('are known by pool, address and labels, in whatever order', () => {
    const one = { ...target('p', 'http://a', 'up'), labels: { a: '1', b: '2' } };
    const same = { ...target('p', 'http://a', 'down'), labels: { b: '2', a: '1' } };
    expect(targetKey(one)).toBe(targetKey(same));
    expect(targetKey(one)).not.toBe(targetKey({ ...one, labels: { a: '1' } }));
    expect(targetKey(one)).not.toBe(targetKey({ ...one, scrapePool: 'q' }));
  });

  it('say what went wrong with them, if anything did', () => {
    const { droppedSamples } = NEVER_SCRAPED;
    const said = (history: Partial<ScrapeHistory>) => summarise({ ...NEVER_SCRAPED, ...history });
    expect(said({ scrapes: 1 })).toBe('1 scrape, none failed');
    expect(said({ scrapes: 1200, failedScrapes: 1000 })).toBe('1,000 of 1,200 scrapes failed');
    expect(
      said({
        scrapes: 3,
        failedScrapes: 1,
        droppedSamples: { ...droppedSamples, outOfOrder: 2, failedScrapes: 5, relabelling: 9 },
      }),
    ).toBe('1 of 3 scrapes failed, 7 samples dropped');
  });

  it('have their sizes beside their limits', () => {
    const rows = sizesAgainstLimits(
      target('p', 'http://a', 'up', {
        lastScrape: { bodyBytes: 1536, samples: 12, samplesAfterRelabelling: 10, seriesAdded: 0 },
        limits: { ...NEVER_SCRAPED.limits, samples: 10, labels: 30 },
      }),
    );
    expect(rows).toEqual([
      { what: 'Body, uncompressed', size: '1.5 KiB', limit: 'none', share: null },
      { what: 'Samples after relabelling', size: '10', limit: '10', share: 1 },
      { what: 'Labels of a sample', size: '', limit: '30', share: null },
    ]);
    const [body] = sizesAgainstLimits(
      target('p', 'http://a', 'down', {
        lastScrape: { bodyBytes: -1, samples: 0, samplesAfterRelabelling: 0, seriesAdded: 0 },
        limits: { ...NEVER_SCRAPED.limits, bodySize: 1024 * 1024 },
      }),
    );
    expect(body).toMatchObject({ size: 'more', limit: '1 MiB', share: Infinity });
  });
});

describe('relabelling', () => {
  it('is written without defaults', () => {
    const rule = { separator: ';', regex: '(.*)', replacement: '$1' };
    expect(
      ruleText({ ...rule, action: 'replace', sourceLabels: ['a', 'b'], targetLabel: 'c' }),
    ).toBe('action: replace, source_labels: [a, b], target_label: c');
    expect(ruleText({ ...rule, action: 'labelmap', regex: 'x_(.*)', replacement: 'y_$1' })).toBe(
      'action: labelmap, regex: x_(.*), replacement: y_$1',
    );
    expect(ruleText({ ...rule, action: 'hashmod', separator: ',', modulus: 8 })).toBe(
      'action: hashmod, separator: ,, modulus: 8',
    );
  });

  it('shows what a rule changed', () => {
    expect(changedLabels({ a: '1', b: '2', c: '3' }, { a: '1', b: '4', d: '5' })).toEqual({
      set: { b: '4', d: '5' },
      deleted: ['c'],
    });
  });
});

describe('rules', () => {
  const base = { query: 'up', health: 'ok', evaluationTime: 0, lastEvaluation: '' } as const;
  const alert = (name: string, state: AlertingRule['state']): AlertingRule => ({
    ...base,
    type: 'alerting',
    name,
    state,
    duration: 0,
  });
  const record: RecordingRule = { ...base, type: 'recording', name: 'job:up:sum' };
  const group = (name: string, rules: RuleGroup['rules']): RuleGroup => ({
    name,
    rules,
    file: 'r.yml',
    interval: 15,
    evaluationTime: 0,
    lastEvaluation: '',
  });
  const groups = [
    group('one', [alert('Down', 'firing'), { ...alert('Bad', 'firing'), health: 'err' }, record]),
    group('two', [{ ...record, health: 'unknown' }]),
  ];

  it('counts an error before any state', () => {
    expect(countStates(groups)).toEqual({
      firing: 1,
      pending: 0,
      inactive: 0,
      error: 1,
      ok: 1,
      unknown: 1,
    });
  });

  it('filters by state, text and type', () => {
    const names = (found: RuleGroup[]) => found.flatMap(({ rules }) => rules.map((r) => r.name));
    expect(names(filterGroups(groups, 'firing', ''))).toEqual(['Down']);
    expect(names(filterGroups(groups, 'all', 'job sum one'))).toEqual(['job:up:sum']);
    expect(names(onlyAlerting(groups))).toEqual(['Down', 'Bad']);
    expect(onlyAlerting(groups)).toHaveLength(1);
  });
});
