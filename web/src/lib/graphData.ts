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

// Twelve hues told apart on light and on dark ground; longer lists vary in lightness.
const HUES = [187, 28, 262, 130, 340, 48, 212, 95, 300, 10, 165, 235];

export function seriesColor(index: number, dark: boolean): string {
  const round = Math.floor(index / HUES.length) % 3;
  const lightness = dark ? 64 - round * 12 : 38 + round * 10;
  return `hsl(${HUES[index % HUES.length]} ${dark ? 62 : 66}% ${lightness}%)`;
}
