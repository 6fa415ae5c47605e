// SPDX-License-Identifier: Apache-2.0
//
// Targets and rules as their pages order and filter them.
import { describe, expect, it } from 'vitest';
import type { AlertingRule, RecordingRule, RuleGroup, Target } from '../src/api/types';
import { countStates, filterGroups, onlyAlerting } from '../src/lib/rules';
import { groupTargets } from '../src/lib/targets';

function target(scrapePool: string, url: string, health: Target['health']): Target {
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
  };
}

describe('targets', () => {
  const targets = [
    target('alpha', 'http://a', 'up'),
    target('beta', 'http://b2', 'up'),
    target('beta', 'http://b1', 'up'),
    target('beta', 'http://b3', 'down'),
    target('gamma', 'http://g', 'unknown'),
  ];
  const urls = (filter: string, search: string) =>
    groupTargets(targets, filter, search).map((pool) => pool.targets.map((one) => one.scrapeUrl));

  it('puts what fails first, pools and targets', () => {
    expect(urls('all', '')).toEqual([
      ['http://b3', 'http://b1', 'http://b2'],
      ['http://g'],
      ['http://a'],
    ]);
  });

  it('filters by health and text, and counts whole pools', () => {
    expect(urls('down', '')).toEqual([['http://b3']]);
    expect(urls('all', 'REFUSED')).toEqual([['http://b3']]);
    expect(urls('up', 'gamma')).toEqual([]);
    expect(groupTargets(targets, 'down', '')[0]).toMatchObject({ up: 2, total: 3 });
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
