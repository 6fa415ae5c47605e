// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  formatAgo,
  formatDuration,
  formatElapsed,
  formatTime,
  parseDuration,
  parseTime,
} from '../src/lib/time';

describe('durations', () => {
  it.each([
    ['1h', 3600e3],
    ['1h30m', 5400e3],
    ['2d12h', 216000e3],
    ['1y', 31536000e3],
    ['250ms', 250],
    ['90', 90e3],
    ['0.5', 500],
    [' 5m ', 300e3],
  ])('parses %s', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', 'h', '1h1h', '30m1h', '1.5h', '-5m', 'now'])('refuses %j', (text) =>
    expect(parseDuration(text)).toBeNull(),
  );

  it.each([
    [0, '0s'],
    [3600e3, '1h'],
    [5400e3, '1h30m'],
    [3600, '3s600ms'],
    [14 * 86400e3, '2w'],
    [15 * 86400e3, '15d'],
    [365 * 86400e3, '1y'],
  ])('formats %d', (ms, text) => expect(formatDuration(ms)).toBe(text));

  it('formats what it parses', () => {
    for (const ms of [1, 999, 1000, 61e3, 3601e3, 90061e3, 400 * 86400e3 + 7]) {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }
  });

  it.each([
    [1.9312, '1.93ms'],
    [417, '417ms'],
    [2512, '2.51s'],
    [184e3, '3m 4s'],
    [190800e3, '2d 5h'],
    [7200e3, '2h'],
  ])('rounds %d', (ms, text) => expect(formatElapsed(ms)).toBe(text));
});

describe('times', () => {
  it('reads and writes UTC', () => {
    const ms = Date.UTC(2026, 2, 1, 14, 5, 9);
    expect(formatTime(ms, true)).toBe('2026-03-01 14:05:09');
    expect(parseTime('2026-03-01 14:05:09', true)).toBe(ms);
    expect(parseTime('2026-03-01T14:05:09Z', true)).toBe(ms);
    expect(parseTime('2026-03-01', true)).toBe(Date.UTC(2026, 2, 1));
  });

  it('reads local times as it writes them', () => {
    const ms = Date.UTC(2026, 6, 1, 3, 0, 0);
    expect(parseTime(formatTime(ms, false), false)).toBe(ms);
  });

  it.each(['', 'yesterday', '2026-13-01', '14:05'])('refuses %j', (text) =>
    expect(parseTime(text, true)).toBeNull(),
  );

  it('tells how long ago, and never', () => {
    const now = Date.UTC(2026, 0, 1);
    expect(formatAgo('2025-12-31T23:59:48Z', now)).toBe('12s ago');
    expect(formatAgo('0001-01-01T00:00:00Z', now)).toBe('never');
    expect(formatAgo('2026-01-01T00:01:00Z', now)).toBe('in 1m');
  });
});
