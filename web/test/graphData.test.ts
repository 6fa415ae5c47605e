// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  DRAWN_SERIES_MAX,
  areaColor,
  isolatedPoints,
  seriesColor,
  stack,
  stackBands,
  summarize,
  toGraphData,
  toggleShown,
} from '../src/lib/graphData';

describe('toGraphData', () => {
  it('puts samples on the grid and leaves gaps', () => {
    const graph = toGraphData(
      [
        {
          metric: { __name__: 'a' },
          values: [
            [100, '1'],
            [130, '4'],
          ],
        },
        {
          metric: { __name__: 'b' },
          values: [
            [110.001, '2'],
            [120, 'NaN'],
            [999, '7'],
          ],
        },
      ],
      { start: 100, end: 130, step: 10 },
    );
    expect(graph.times).toEqual([100, 110, 120, 130]);
    expect(graph.series.map((series) => series.values)).toEqual([
      [1, null, null, 4],
      [null, 2, null, null],
    ]);
  });

  it('includes the end for steps that binary fractions miss', () => {
    expect(toGraphData([], { start: 0, end: 0.3, step: 0.1 }).times).toHaveLength(4);
  });

  it('caps the drawn series and counts the rest', () => {
    const matrix = Array.from({ length: DRAWN_SERIES_MAX + 1 }, (_, i) => ({
      metric: { i: String(i) },
      values: [[0, '1'] as [number, string]],
    }));
    const graph = toGraphData(matrix, { start: 0, end: 1, step: 1 });
    expect(graph.series).toHaveLength(DRAWN_SERIES_MAX);
    expect(graph.seriesTotal).toBe(DRAWN_SERIES_MAX + 1);
  });

  it('counts series of histograms, which it cannot draw', () => {
    const graph = toGraphData([{ metric: {}, histograms: [[0, { count: '1', sum: '1' }]] }], {
      start: 0,
      end: 1,
      step: 1,
    });
    expect(graph).toMatchObject({ series: [], histogramSeries: 1 });
  });
});

it('stacks what is shown', () => {
  const series = [
    [1, 1, null],
    [10, null, 10],
    [100, 100, 100],
  ];
  expect(stack(series, [true, true, true])).toEqual([
    [1, 1, null],
    [11, null, 10],
    [111, 101, 110],
  ]);
  expect(stack(series, [true, false, true])[2]).toEqual([101, 101, 100]);
  expect(stackBands([true, false, true, true])).toEqual([
    [2, 0],
    [3, 2],
  ]);
  expect(stackBands([false, true])).toEqual([]);
});

it('finds points that no line would show', () => {
  expect(isolatedPoints([1, null, 2, 3, null, 4])).toEqual([0, 5]);
  expect(isolatedPoints([null])).toEqual([]);
});

it('summarizes the samples there are', () => {
  expect(summarize([null, 4, null, 2])).toEqual({ last: 2, average: 3, min: 2, max: 4 });
  expect(summarize([null])).toBeNull();
});

it('shows one alone, all again, or all but one', () => {
  expect(toggleShown([true, true, true], 1, true)).toEqual([false, true, false]);
  expect(toggleShown([false, true, false], 1, true)).toEqual([true, true, true]);
  expect(toggleShown([true, true, true], 1, false)).toEqual([true, false, true]);
});

it('gives every series a colour an area can be made of', () => {
  const colors = Array.from({ length: 60 }, (_, i) => seriesColor(i, true));
  expect(new Set(colors).size).toBe(60);
  expect(areaColor('#123456')).toBe('#1234564d');
  expect(areaColor('hsl(1 2% 3%)')).toBe('hsl(1 2% 3% / 30%)');
});
