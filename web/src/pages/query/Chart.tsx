// SPDX-License-Identifier: Apache-2.0
//
// The drawing of a graph: uPlot, with a tooltip for the line nearest to the pointer.
import { useElementSize } from '@mantine/hooks';
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { LabelTags } from '../../components/LabelSet';
import { useSettings } from '../../app/settings';
import { formatShort } from '../../lib/format';
import {
  areaColor,
  isolatedPoints,
  seriesColor,
  stack,
  stackBands,
  type GraphData,
} from '../../lib/graphData';
import { formatTime } from '../../lib/time';
import classes from './query.module.css';

const HEIGHT = 380;
const NEAR_PX = 30;
// Fading the other lines redraws them all, too slow for many.
const FADE_SERIES_MAX = 60;

interface ChartProps {
  data: GraphData;
  shown: readonly boolean[];
  stacked: boolean;
  zeroBased: boolean;
  // The user dragged over this span; in ms.
  onZoom: (startMs: number, endMs: number) => void;
}

interface Hover {
  series: number;
  point: number;
  left: number;
  top: number;
}

interface Palette {
  axis: string;
  grid: string;
  dark: boolean;
}

function readPalette(dark: boolean): Palette {
  const style = getComputedStyle(document.documentElement);
  return {
    axis: style.getPropertyValue('--v-dim'),
    grid: style.getPropertyValue('--v-border'),
    dark,
  };
}

// uPlot's table of tick texts: step, text, then what a new year, day or minute adds to it.
const TIME_TEXTS: uPlot.Axis.Values = [
  [365 * 86400, '{YYYY}', null, null, null, null, null, null, 1],
  [28 * 86400, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [86400, '{MM}-{DD}', '\n{YYYY}', null, null, null, null, null, 1],
  [60, '{HH}:{mm}', '\n{YYYY}-{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', '\n{YYYY}-{MM}-{DD}', null, '\n{MM}-{DD}', null, null, null, 1],
  [0.001, ':{ss}.{fff}', '\n{YYYY}-{MM}-{DD} {HH}:{mm}', null, '\n{MM}-{DD}', null, null, null, 1],
];

function axes({ axis, grid }: Palette): uPlot.Axis[] {
  const shared = {
    stroke: axis,
    font: '12px system-ui, "DejaVu Sans", sans-serif',
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
  };
  return [
    { ...shared, space: 80, values: TIME_TEXTS },
    {
      ...shared,
      size: (_, values) => 24 + 7 * Math.max(3, ...(values ?? []).map((text) => text.length)),
      values: (_, splits) => splits.map(formatShort),
    },
  ];
}

// Lowest and highest of what is shown, with room for a flat line.
function yRange(low: number | null, high: number | null, fromZero: boolean): uPlot.Range.MinMax {
  let min = low ?? 0;
  let max = high ?? 1;
  if (fromZero) {
    min = Math.min(0, min);
    max = Math.max(0, max);
  }
  if (min === max) {
    const room = Math.abs(min) * 0.1 || 1;
    return [fromZero && min === 0 ? 0 : min - room, max + room];
  }
  const room = (max - min) * 0.06;
  return [fromZero && min === 0 ? 0 : min - room, max + room];
}

function options(props: ChartProps, palette: Palette, utc: boolean, width: number): uPlot.Options {
  const { data, shown, stacked, zeroBased, onZoom } = props;
  const fade = data.series.length <= FADE_SERIES_MAX;
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [12, 16, 0, 0],
    tzDate: (seconds) =>
      utc ? uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC') : new Date(seconds * 1000),
    cursor: {
      drag: { x: true, y: false, setScale: false },
      focus: { prox: NEAR_PX },
      points: { size: 7 },
    },
    focus: { alpha: fade ? 0.25 : 1 },
    scales: {
      x: { range: () => [data.times[0] ?? 0, data.times[data.times.length - 1] ?? 1] },
      y: { range: (_, low, high) => yRange(low, high, zeroBased || stacked) },
    },
    axes: axes(palette),
    // uPlot counts the time column as series 0.
    bands: stacked
      ? stackBands(shown).map(([upper, lower]) => ({ series: [upper + 1, lower + 1] }))
      : [],
    hooks: {
      setSelect: [
        (plot) => {
          if (plot.select.width > 4) {
            const { left, width: span } = plot.select;
            onZoom(plot.posToVal(left, 'x') * 1000, plot.posToVal(left + span, 'x') * 1000);
          }
        },
      ],
    },
    series: [
      {},
      ...data.series.map((_, i) => {
        const stroke = seriesColor(i, palette.dark);
        return {
          show: shown[i] ?? true,
          stroke,
          width: 1.5,
          ...(stacked ? { fill: areaColor(stroke) } : {}),
          points: {
            size: 4,
            fill: stroke,
            filter: (plot: uPlot, series: number) => isolatedPoints(plot.data[series] ?? []),
          },
        };
      }),
    ],
  };
}

// The line nearest to the pointer at the step under it, or null if none is near.
function nearest(plot: uPlot): Hover | null {
  const { idx, left = -1, top = -1 } = plot.cursor;
  if (idx == null || left < 0) {
    return null;
  }
  let best = -1;
  let bestDistance = NEAR_PX;
  for (let s = 1; s < plot.data.length; s++) {
    const value = plot.data[s]?.[idx];
    if (plot.series[s]?.show && value != null) {
      const distance = Math.abs(plot.valToPos(value, 'y') - top);
      if (distance < bestDistance) {
        [best, bestDistance] = [s - 1, distance];
      }
    }
  }
  return best < 0 ? null : { series: best, point: idx, left, top };
}

export function Chart(props: ChartProps) {
  const { data, shown, stacked } = props;
  const { utc } = useSettings();
  const dark = useComputedColorScheme('light') === 'dark';
  const { ref: frame, width } = useElementSize();
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const latest = useRef(props);
  latest.current = props;

  const columns = useMemo(() => {
    const values = data.series.map((series) => series.values);
    return [data.times, ...(stacked ? stack(values, shown) : values)] as uPlot.AlignedData;
  }, [data, stacked, shown]);

  const ready = width > 0;
  useEffect(() => {
    if (holder.current === null || !ready) {
      return undefined;
    }
    const chosen = options(
      { ...latest.current, onZoom: (start, end) => latest.current.onZoom(start, end) },
      readPalette(dark),
      utc,
      holder.current.clientWidth,
    );
    chosen.hooks = {
      ...chosen.hooks,
      setCursor: [(self) => setHover(nearest(self))],
    };
    const drawn = new uPlot(chosen, columns, holder.current);
    plot.current = drawn;
    setHover(null);
    return () => {
      plot.current = null;
      drawn.destroy();
    };
  }, [columns, dark, utc, ready, props.zeroBased, stacked]);

  useEffect(() => {
    plot.current?.setSize({ width, height: HEIGHT });
  }, [width]);

  const series = hover === null ? undefined : data.series[hover.series];
  const time = hover === null ? undefined : data.times[hover.point];
  return (
    <div ref={frame} className={classes.chart} style={{ height: HEIGHT }}>
      <div ref={holder} aria-hidden="true" />
      {hover !== null && series !== undefined && time !== undefined && (
        <div
          className={classes.tooltip}
          style={{
            top: hover.top + 24,
            ...(hover.left > width / 2
              ? { right: width - hover.left + 12 - (plot.current?.over.offsetLeft ?? 0) }
              : { left: hover.left + 24 + (plot.current?.over.offsetLeft ?? 0) }),
          }}
        >
          <div className="dim num">{formatTime(time * 1000, utc)}</div>
          <div className={classes.tooltipValue}>
            <span
              className={classes.swatch}
              style={{ background: seriesColor(hover.series, dark) }}
            />
            <strong className="mono">{series.labels.__name__ ?? 'value'}</strong>
            <span className="mono num">{series.values[hover.point]}</span>
          </div>
          <LabelTags labels={withoutName(series.labels)} />
        </div>
      )}
    </div>
  );
}

function withoutName({ __name__: _, ...rest }: Record<string, string>) {
  return rest;
}
