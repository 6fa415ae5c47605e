// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatHistogram,
  formatSeries,
  formatShort,
  matchesSearch,
} from '../src/lib/format';
import { webAddress } from '../src/lib/targets';

describe('formatShort', () => {
  it.each([
    [0, '0'],
    [1200, '1.2k'],
    [-2500000, '-2.5M'],
    [0.25, '0.25'],
    [0.00002, '2e-5'],
    [0.000437, '0.000437'],
    [3e18, '3.00e+18'],
    [1.23456, '1.235'],
  ])('writes %d', (value, text) => expect(formatShort(value)).toBe(text));
});

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [256 * 1024 * 1024, '256 MiB'],
    [5000 * 1024 ** 3, '5000 GiB'],
  ])('writes %d', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe('formatSeries', () => {
  it('writes PromQL', () => {
    expect(formatSeries({ __name__: 'up' })).toBe('up');
    expect(formatSeries({})).toBe('{}');
    expect(formatSeries({ __name__: 'up', job: 'a', env: 'b"c' })).toBe('up{env="b\\"c", job="a"}');
    expect(formatSeries({ __name__: 'odd name', 'k8s.pod': 'x' })).toBe(
      '{"odd name", "k8s.pod"="x"}',
    );
  });
});

it('writes histograms with their brackets', () => {
  expect(
    formatHistogram({
      count: '3',
      sum: '4.5',
      buckets: [
        [0, '1', '2', '1'],
        [3, '-0.5', '0.5', '2'],
      ],
    }),
  ).toBe('count:3 sum:4.5\n(1, 2]: 1\n[-0.5, 0.5]: 2');
});

it('finds every word, whatever the case', () => {
  expect(matchesSearch('http://Node-1:9100/metrics job="node"', 'node 9100')).toBe(true);
  expect(matchesSearch('http://node-1:9100/metrics', 'node 9200')).toBe(false);
});

it('links only web addresses', () => {
  expect(webAddress('https://host/metrics')).toBe('https://host/metrics');
  expect(webAddress('javascript:alert(1)')).toBeUndefined();
});
