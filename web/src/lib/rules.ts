// SPDX-License-Identifier: Apache-2.0
//
// Rules filtered for the page.
import type { Rule, RuleGroup } from '../api/types';
import { formatSeries, matchesSearch } from './format';

export type RuleState = 'firing' | 'pending' | 'inactive' | 'error' | 'ok' | 'unknown';

// One word for a rule: an error outweighs all, an alert has its state, a recording its health.
export function ruleState(rule: Rule): RuleState {
  if (rule.health === 'err') {
    return 'error';
  }
  if (rule.type === 'alerting') {
    return rule.state;
  }
  return rule.health === 'ok' ? 'ok' : 'unknown';
}

export function countStates(groups: readonly RuleGroup[]): Record<RuleState, number> {
  const counts = { firing: 0, pending: 0, inactive: 0, error: 0, ok: 0, unknown: 0 };
  for (const group of groups) {
    for (const rule of group.rules) {
      counts[ruleState(rule)] += 1;
    }
  }
  return counts;
}

export function onlyAlerting(groups: readonly RuleGroup[]): RuleGroup[] {
  return groups
    .map((group) => ({ ...group, rules: group.rules.filter((rule) => rule.type === 'alerting') }))
    .filter((group) => group.rules.length > 0);
}

// Groups with the rules in `state` ('all' for any) that match `search`; empty ones are dropped.
export function filterGroups(
  groups: readonly RuleGroup[],
  state: string,
  search: string,
): RuleGroup[] {
  const keep = (group: RuleGroup, rule: Rule) =>
    (state === 'all' || ruleState(rule) === state) &&
    (search === '' ||
      matchesSearch(
        `${group.name} ${group.file} ${rule.name} ${rule.query} ${formatSeries(rule.labels ?? {})}`,
        search,
      ));
  return groups
    .map((group) => ({ ...group, rules: group.rules.filter((rule) => keep(group, rule)) }))
    .filter((group) => group.rules.length > 0);
}
