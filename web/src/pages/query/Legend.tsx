// SPDX-License-Identifier: Apache-2.0
//
// The series of a graph. A click shows one alone, or all again; with Ctrl it hides or shows one.
import { useComputedColorScheme } from '@mantine/core';
import type { MouseEvent } from 'react';
import { SeriesName } from '../../components/LabelSet';
import { useGradual } from '../../components/useGradual';
import { seriesColor, type GraphSeries } from '../../lib/graphData';
import classes from './query.module.css';

interface LegendProps {
  series: readonly GraphSeries[];
  shown: readonly boolean[];
  onChange: (shown: boolean[]) => void;
}

// What a click on `index` leaves shown.
export function toggleShown(shown: readonly boolean[], index: number, only: boolean): boolean[] {
  if (!only) {
    return shown.map((on, i) => (i === index ? !on : on));
  }
  const alone = shown.every((on, i) => on === (i === index));
  return shown.map((_, i) => alone || i === index);
}

export function Legend({ series, shown, onChange }: LegendProps) {
  const dark = useComputedColorScheme('light') === 'dark';
  const { shown: rows, end } = useGradual(series.length, series);
  const click = (event: MouseEvent, index: number) => {
    const only = !(event.ctrlKey || event.metaKey || event.shiftKey);
    onChange(toggleShown(shown, index, only));
  };
  return (
    <div className={classes.legend}>
      <ul aria-label="Series in the graph">
        {series.slice(0, rows).map((one, i) => (
          <li key={i}>
            <button
              type="button"
              className={classes.legendRow}
              aria-pressed={shown[i]}
              onClick={(event) => click(event, i)}
            >
              <span className={classes.swatch} style={{ background: seriesColor(i, dark) }} />
              <SeriesName labels={one.labels} />
            </button>
          </li>
        ))}
      </ul>
      <div ref={end} />
      {series.length > 1 && (
        <p className={classes.hint}>
          Click a series to see it alone; Ctrl or ⌘ with a click hides or shows one.
        </p>
      )}
    </div>
  );
}
