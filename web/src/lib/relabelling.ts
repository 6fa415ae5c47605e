// SPDX-License-Identifier: Apache-2.0
//
// Relabelling rules and what they changed, as text.
import type { Labels, RelabelRule } from '../api/types';

const DEFAULTS: Partial<RelabelRule> = { separator: ';', regex: '(.*)', replacement: '$1' };
const NAMES: ReadonlyArray<readonly [keyof RelabelRule, string]> = [
  ['sourceLabels', 'source_labels'],
  ['separator', 'separator'],
  ['regex', 'regex'],
  ['modulus', 'modulus'],
  ['targetLabel', 'target_label'],
  ['replacement', 'replacement'],
];

// The rule as the configuration would have it, on one line and without what is a default.
export function ruleText(rule: RelabelRule): string {
  const parts = [`action: ${rule.action}`];
  for (const [key, name] of NAMES) {
    const value = rule[key];
    if (value === undefined || value === DEFAULTS[key]) {
      continue;
    }
    parts.push(`${name}: ${Array.isArray(value) ? `[${value.join(', ')}]` : String(value)}`);
  }
  return parts.join(', ');
}

// Labels of `after` that are new or other than in `before`, and names that are gone.
export function changedLabels(before: Labels, after: Labels) {
  const set = Object.fromEntries(
    Object.entries(after).filter(([name, value]) => before[name] !== value),
  );
  const deleted = Object.keys(before)
    .filter((name) => !(name in after))
    .sort();
  return { set, deleted };
}
