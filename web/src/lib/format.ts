// SPDX-License-Identifier: Apache-2.0
//
// Numbers, series and histograms as text.
import type { Histogram, Labels } from '../api/types';

const SI: ReadonlyArray<readonly [number, string]> = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
  [1, ''],
];

// A short number for axes and counts: 1200 is "1.2k", 0.00002 is "2e-5".
export function formatShort(value: number): string {
  const size = Math.abs(value);
  if (size === 0) {
    return '0';
  }
  if (!Number.isFinite(value) || size >= 1e15) {
    return value.toPrecision(3);
  }
  if (size < 1e-4) {
    return String(Number(value.toPrecision(3)).toExponential());
  }
  const [unit, suffix] = SI.find(([limit]) => size >= limit) ?? [1, ''];
  return `${Number((value / unit).toPrecision(4))}${suffix}`;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB'] as const;

// 1536 is "1.5 KiB".
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit + 1 < BYTE_UNITS.length) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toPrecision(value < 1000 ? 3 : 4))} ${BYTE_UNITS[unit]}`;
}

const BARE_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const BARE_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

export function quoteLabelName(name: string): string {
  return BARE_LABEL.test(name) ? name : JSON.stringify(name);
}

export function isBareMetricName(name: string): boolean {
  return BARE_METRIC.test(name);
}

// The series as it would be selected: up{job="node"}, or {"odd name", job="node"}.
export function formatSeries(labels: Labels): string {
  const { __name__: name, ...rest } = labels;
  const pairs = Object.keys(rest)
    .sort()
    .map((label) => `${quoteLabelName(label)}=${JSON.stringify(rest[label])}`);
  if (name !== undefined && !isBareMetricName(name)) {
    pairs.unshift(JSON.stringify(name));
    return `{${pairs.join(', ')}}`;
  }
  return pairs.length > 0 || name === undefined ? `${name ?? ''}{${pairs.join(', ')}}` : name;
}

const BRACKETS = ['(]', '[)', '()', '[]'] as const;

// One line per bucket, after count and sum.
export function formatHistogram(histogram: Histogram): string {
  const lines = [`count:${histogram.count} sum:${histogram.sum}`];
  for (const [rule, low, high, count] of histogram.buckets ?? []) {
    const brackets = BRACKETS[rule] ?? '[]';
    lines.push(`${brackets[0]}${low}, ${high}${brackets[1]}: ${count}`);
  }
  return lines.join('\n');
}

export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? noun : many}`;
}

// True when every word of `search` occurs in `text`, whatever the case.
export function matchesSearch(text: string, search: string): boolean {
  const haystack = text.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word));
}
