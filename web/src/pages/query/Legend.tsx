// SPDX-License-Identifier: Apache-2.0
//
// The series of a graph and their figures. A click shows one alone, or all again; with Ctrl it hides or shows one.
import { useComputedColorScheme } from '@mantine/core';
import { useMemo, type MouseEvent } from 'react';
import { SeriesName } from '../../components/LabelSet';
import { useGradual } from '../../components/useGradual';
import { formatShort, plural } from '../../lib/format';
import {
  seriesColor,
  summarize,
  toggleShown,
  type GraphSeries,
  type Summary,
} from '../../lib/graphData';
import classes from './query.module.css';

interface LegendProps {
  series: readonly GraphSeries[];
  shown: readonly boolean[];
  onChange: (shown: boolean[]) => void;
}

const COLUMNS: ReadonlyArray<readonly [keyof Summary, string]> = [
  ['last', 'Last'],
  ['average', 'Average'],
  ['min', 'Min'],
  ['max', 'Max'],
];

export function Legend({ series, shown, onChange }: LegendProps) {
  const dark = useComputedColorScheme('light') === 'dark';
  const { shown: rows, end } = useGradual(series.length, series);
  const summaries = useMemo(() => series.map((one) => summarize(one.values)), [series]);
  const click = (event: MouseEvent, index: number) => {
    const only = !(event.ctrlKey || event.metaKey || event.shiftKey);
    onChange(toggleShown(shown, index, only));
  };
  return (
    <div className={classes.legend}>
      <table>
        <thead>
          <tr>
            <th scope="col">{plural(series.length, 'series', 'series')}</th>
            {COLUMNS.map(([, title]) => (
              <th key={title} scope="col" className={classes.legendNumber}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {series.slice(0, rows).map((one, i) => (
            <tr key={i}>
              <td>
                <button
                  type="button"
                  className={classes.legendSeries}
                  aria-pressed={shown[i]}
                  onClick={(event) => click(event, i)}
                >
                  <span className={classes.swatch} style={{ background: seriesColor(i, dark) }} />
                  <SeriesName labels={one.labels} />
                </button>
              </td>
              {COLUMNS.map(([column, title]) => (
                <td key={title} className={classes.legendNumber}>
                  {summaries[i] ? formatShort(summaries[i][column]) : '–'}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <div ref={end} />
      {series.length > 1 && (
        <p className={classes.hint}>
          Click a series to see it alone; Ctrl or ⌘ with a click hides or shows one.
        </p>
      )}
    </div>
  );
}
