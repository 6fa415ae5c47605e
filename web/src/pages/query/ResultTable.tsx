// SPDX-License-Identifier: Apache-2.0
//
// An instant query's result as rows. Long ones are capped, and drawn as the user scrolls.
import { useMemo, useState } from 'react';
import type { Labels, QueryData } from '../../api/types';
import { Notice } from '../../components/Notice';
import { SeriesName } from '../../components/LabelSet';
import { useGradual } from '../../components/useGradual';
import { formatHistogram } from '../../lib/format';
import { formatTime } from '../../lib/time';
import { useSettings } from '../../app/settings';
import classes from './query.module.css';

const ROWS_MAX = 10_000;

interface Row {
  // Null for scalars and strings, which have no series.
  labels: Labels | null;
  lines: string[];
  // For sorting; null where there is no single number.
  number: number | null;
}

// At most ROWS_MAX lines, counting each sample of a range as one.
function toRows(data: QueryData, utc: boolean): { rows: Row[]; capped: boolean } {
  if (data.resultType === 'scalar' || data.resultType === 'string') {
    return { rows: [{ labels: null, lines: [data.result[1]], number: null }], capped: false };
  }
  if (data.resultType === 'vector') {
    const rows = data.result.slice(0, ROWS_MAX).map(({ metric, value, histogram }) => ({
      labels: metric,
      lines: [value !== undefined ? value[1] : histogram ? formatHistogram(histogram[1]) : ''],
      number: value !== undefined ? Number(value[1]) : null,
    }));
    return { rows, capped: data.result.length > ROWS_MAX };
  }
  const rows: Row[] = [];
  let left = ROWS_MAX;
  for (const { metric, values = [], histograms = [] } of data.result) {
    if (left <= 0) {
      return { rows, capped: true };
    }
    const all = [
      ...values.map(([time, value]) => [time, value] as const),
      ...histograms.map(([time, histogram]) => [time, formatHistogram(histogram)] as const),
    ].sort(([a], [b]) => a - b);
    const lines = all
      .slice(0, left)
      .map(([time, text]) => `${text}  @ ${formatTime(time * 1000, utc)}.${millis(time)}`);
    rows.push({ labels: metric, lines, number: null });
    left -= all.length;
  }
  return { rows, capped: left < 0 };
}

const millis = (seconds: number) => String(Math.round(seconds * 1000) % 1000).padStart(3, '0');

type Order = 'none' | 'descending' | 'ascending';
const NEXT_ORDER: Record<Order, Order> = {
  none: 'descending',
  descending: 'ascending',
  ascending: 'none',
};

function sorted(rows: Row[], order: Order): Row[] {
  if (order === 'none') {
    return rows;
  }
  const sign = order === 'ascending' ? 1 : -1;
  const key = ({ number }: Row) =>
    number === null || Number.isNaN(number) ? -sign * Infinity : number;
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return x === y ? 0 : sign * (x < y ? -1 : 1);
  });
}

const ARROWS: Record<Order, string> = { none: '', descending: ' ↓', ascending: ' ↑' };

export function ResultTable({ data }: { data: QueryData }) {
  const { utc } = useSettings();
  const [order, setOrder] = useState<Order>('none');
  const { rows, capped } = useMemo(() => toRows(data, utc), [data, utc]);
  const ordered = useMemo(() => sorted(rows, order), [rows, order]);
  const { shown, end } = useGradual(ordered.length, ordered);

  if (rows.length === 0) {
    return <p className={classes.empty}>The query returned no series.</p>;
  }
  const sortable = data.resultType === 'vector' && rows.length > 1;
  return (
    <>
      {capped && (
        <div className={classes.notices}>
          <Notice kind="warning">
            The result is longer than {ROWS_MAX.toLocaleString('en')} rows; the rest is not shown.
          </Notice>
        </div>
      )}
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">{rows[0]?.labels === null ? 'Type' : 'Series'}</th>
            <th scope="col" className={classes.value} aria-sort={sortable ? order : undefined}>
              {sortable ? (
                <button
                  type="button"
                  className={classes.sort}
                  onClick={() => setOrder(NEXT_ORDER[order])}
                >
                  Value{ARROWS[order]}
                </button>
              ) : (
                'Value'
              )}
            </th>
          </tr>
        </thead>
        <tbody>
          {ordered.slice(0, shown).map((row, i) => (
            <tr key={i}>
              <td>{row.labels === null ? data.resultType : <SeriesName labels={row.labels} />}</td>
              <td className={classes.value}>{row.lines.join('\n')}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <div ref={end} />
    </>
  );
}
