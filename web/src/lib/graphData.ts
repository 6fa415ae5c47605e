// SPDX-License-Identifier: Apache-2.0
//
// A range query's matrix as the columns uPlot draws: one shared time axis, null for no sample.
import type { RangeParams } from '../api/client';
import type { Labels, MatrixItem } from '../api/types';
import { formatSeries } from './format';

export const DRAWN_SERIES_MAX = 500;

export interface GraphSeries {
  labels: Labels;
  name: string;
  values: (number | null)[];
}

export interface GraphData {
  times: number[];
  series: GraphSeries[];
  // What the graph leaves out, to be told to the user.
  seriesTotal: number;
  histogramSeries: number;
}

// Samples of a range query lie on the grid start + i·step; times in seconds.
export function toGraphData(
  matrix: readonly MatrixItem[],
  { start, end, step }: RangeParams,
): GraphData {
  const points = Math.floor((end - start) / step + 1e-6) + 1;
  const times = Array.from({ length: points }, (_, i) => start + i * step);
  const floats = matrix.filter((item) => item.values !== undefined && item.values.length > 0);
  const series = floats.slice(0, DRAWN_SERIES_MAX).map((item) => {
    const values = new Array<number | null>(points).fill(null);
    for (const [time, text] of item.values ?? []) {
      const value = Number(text);
      const i = Math.round((time - start) / step);
      if (i >= 0 && i < points && Number.isFinite(value)) {
        values[i] = value;
      }
    }
    return { labels: item.metric, name: formatSeries(item.metric), values };
  });
  return {
    times,
    series,
    seriesTotal: floats.length,
    histogramSeries: matrix.filter((item) => (item.histograms?.length ?? 0) > 0).length,
  };
}

// Each shown series on top of those before it; hidden ones keep their values and add nothing.
export function stack(
  series: readonly (readonly (number | null)[])[],
  shown: readonly boolean[],
): (number | null)[][] {
  const sums: number[] = new Array<number>(series[0]?.length ?? 0).fill(0);
  return series.map((values, s) =>
    values.map((value, i) => {
      if (!shown[s]) {
        return value;
      }
      const sum = (sums[i] ?? 0) + (value ?? 0);
      sums[i] = sum;
      return value === null ? null : sum;
    }),
  );
}

// For each shown series but the lowest: it and the shown one below it, between which its area is.
export function stackBands(shown: readonly boolean[]): [upper: number, lower: number][] {
  const order = shown.flatMap((on, i) => (on ? [i] : []));
  return order.slice(1).map((upper, i) => [upper, order[i] ?? 0]);
}

// Points without a neighbour: a line alone would not show them.
export function isolatedPoints(values: ArrayLike<number | null | undefined>): number[] {
  const found: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) {
      found.push(i);
    }
  }
  return found;
}

// Told apart from each other and from the ground in both schemes; further series get computed hues.
const LIGHT = [
  '#0d8480',
  '#bb5f12',
  '#6446c0',
  '#c02f4a',
  '#2163c4',
  '#8f7000',
  '#a93596',
  '#2c8436',
  '#7b4a2a',
  '#0a7fae',
  '#5d7010',
  '#55636d',
];
const DARK = [
  '#4cc9c0',
  '#f0a35e',
  '#a992f5',
  '#ff7f8f',
  '#6aa9ff',
  '#e3c04a',
  '#ea86d8',
  '#74cf7c',
  '#d29a72',
  '#5fcbf2',
  '#b5c950',
  '#a3b4bf',
];
const GOLDEN_ANGLE = 137.508;

export function seriesColor(index: number, dark: boolean): string {
  const chosen = (dark ? DARK : LIGHT)[index];
  const hue = Math.round(index * GOLDEN_ANGLE) % 360;
  return chosen ?? (dark ? `hsl(${hue} 60% 66%)` : `hsl(${hue} 62% 38%)`);
}

// The same colour, mostly transparent, for the area below a line.
export function areaColor(color: string): string {
  return color.startsWith('#') ? `${color}4d` : color.replace(')', ' / 30%)');
}

export interface Summary {
  last: number;
  average: number;
  min: number;
  max: number;
}

// Of the samples there are; null without any.
export function summarize(values: readonly (number | null)[]): Summary | null {
  let [count, sum, min, max, last] = [0, 0, Infinity, -Infinity, 0];
  for (const value of values) {
    if (value !== null) {
      count += 1;
      sum += value;
      min = Math.min(min, value);
      max = Math.max(max, value);
      last = value;
    }
  }
  return count === 0 ? null : { last, average: sum / count, min, max };
}

// What a click on the legend's row `index` leaves shown: it alone (or all again), or all but it.
export function toggleShown(shown: readonly boolean[], index: number, only: boolean): boolean[] {
  if (!only) {
    return shown.map((on, i) => (i === index ? !on : on));
  }
  const alone = shown.every((on, i) => on === (i === index));
  return shown.map((_, i) => alone || i === index);
}
