// SPDX-License-Identifier: Apache-2.0
//
// The head of the storage, and what fills it.
import type { NameValue, TsdbStatus } from '../../api/types';
import { useSettings } from '../../app/settings';
import { Card } from '../../components/Card';
import { formatTime } from '../../lib/time';
import { Facts } from './InfoCards';
import classes from '../pages.module.css';

interface TopListProps {
  title: string;
  column: string;
  rows: readonly NameValue[] | null | undefined;
}

function TopList({ title, column, rows }: TopListProps) {
  if (rows == null || rows.length === 0) {
    return null;
  }
  return (
    <Card title={title}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col" className={classes.number}>
              {column}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <td className={`mono ${classes.url}`}>{row.name}</td>
              <td className={classes.number}>{row.value.toLocaleString('en')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

export function HeadCard({ status }: { status: TsdbStatus }) {
  const { utc } = useSettings();
  const { numSeries, numLabelPairs, chunkCount, minTime, maxTime } = status.headStats;
  // An empty head has its bounds the wrong way round.
  const time = (ms: number) => (minTime <= maxTime ? formatTime(ms, utc) : '–');
  return (
    <Card title="Storage head">
      <Facts
        facts={[
          ['Series', numSeries.toLocaleString('en')],
          ['Chunks', chunkCount.toLocaleString('en')],
          ['Label pairs', numLabelPairs?.toLocaleString('en') ?? '–'],
          ['Oldest sample', time(minTime)],
          ['Newest sample', time(maxTime)],
        ]}
      />
    </Card>
  );
}

export function CardinalityCards({ status }: { status: TsdbStatus }) {
  return (
    <div className={classes.pairs}>
      <TopList
        title="Metrics with most series"
        column="Series"
        rows={status.seriesCountByMetricName}
      />
      <TopList
        title="Labels with most values"
        column="Values"
        rows={status.labelValueCountByLabelName}
      />
      <TopList
        title="Label pairs with most series"
        column="Series"
        rows={status.seriesCountByLabelValuePair}
      />
      <TopList
        title="Labels with most memory"
        column="Bytes"
        rows={status.memoryInBytesByLabelName}
      />
    </div>
  );
}
