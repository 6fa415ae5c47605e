// SPDX-License-Identifier: Apache-2.0
//
// A range query's result: the chart, its legend, and what the chart could not show.
import { useMemo, useState } from 'react';
import type { RangeParams } from '../../api/client';
import type { QueryData } from '../../api/types';
import { Notice } from '../../components/Notice';
import { plural } from '../../lib/format';
import { DRAWN_SERIES_MAX, toGraphData } from '../../lib/graphData';
import { Chart } from './Chart';
import { Legend } from './Legend';
import classes from './query.module.css';

interface ResultGraphProps {
  data: QueryData;
  range: RangeParams;
  stacked: boolean;
  zeroBased: boolean;
  onZoom: (startMs: number, endMs: number) => void;
}

export function ResultGraph({ data, range, stacked, zeroBased, onZoom }: ResultGraphProps) {
  const graph = useMemo(
    () => toGraphData(data.resultType === 'matrix' ? data.result : [], range),
    [data, range],
  );
  const [shown, setShown] = useState<{ graph: unknown; flags: boolean[] }>({
    graph: null,
    flags: [],
  });
  // What is hidden belongs to one result: another may have other series.
  const flags = useMemo(
    () => (shown.graph === graph ? shown.flags : graph.series.map(() => true)),
    [graph, shown],
  );

  if (graph.series.length === 0 && graph.histogramSeries === 0) {
    return <p className={classes.empty}>The query returned no series in this range.</p>;
  }
  return (
    <>
      <div className={classes.notices}>
        {graph.seriesTotal > DRAWN_SERIES_MAX && (
          <Notice kind="warning">
            Drawing the first {DRAWN_SERIES_MAX} of {plural(graph.seriesTotal, 'series', 'series')}.
            Aggregate the expression to see all of them.
          </Notice>
        )}
        {graph.histogramSeries > 0 && (
          <Notice kind="info">
            {plural(graph.histogramSeries, 'series', 'series')} hold native histograms, which a line
            cannot show. Use histogram_quantile() or histogram_avg(), or see the table.
          </Notice>
        )}
      </div>
      {graph.series.length > 0 && (
        <>
          <Chart
            data={graph}
            shown={flags}
            stacked={stacked}
            zeroBased={zeroBased}
            onZoom={onZoom}
          />
          <Legend
            series={graph.series}
            shown={flags}
            onChange={(next) => setShown({ graph, flags: next })}
          />
        </>
      )}
    </>
  );
}
