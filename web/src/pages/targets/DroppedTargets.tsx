// SPDX-License-Identifier: Apache-2.0
//
// Targets that relabelling drops, a job at a time and asked for when the user wants them: what was
// discovered of each, and the rule that drops it.
import { useCallback, useState } from 'react';
import { api } from '../../api/client';
import { useApi } from '../../api/useApi';
import { Card } from '../../components/Card';
import { LabelTags } from '../../components/LabelSet';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { OnDemand } from '../../components/OnDemand';
import { Pager } from '../../components/Pager';
import { RelabelSteps } from './RelabelSteps';
import classes from '../pages.module.css';

const PAGE_SIZE = 20;

function List({ scrapePool, count }: { scrapePool: string; count: number }) {
  const [offset, setOffset] = useState(0);
  const load = useCallback(
    (signal: AbortSignal) => api.droppedTargets(scrapePool, signal),
    [scrapePool],
  );
  const { answer, error } = useApi(load);
  if (error !== null) {
    return (
      <Notice kind="error" title="The dropped targets could not be loaded">
        {error.message}
      </Notice>
    );
  }
  if (answer === null) {
    return <Loading what="the dropped targets" />;
  }
  const { droppedTargets } = answer.data;
  return (
    <>
      {droppedTargets.length < count && (
        <p className={classes.note}>
          {droppedTargets.length.toLocaleString('en')} of them are kept to be looked at.
        </p>
      )}
      <Pager
        offset={offset}
        size={PAGE_SIZE}
        total={droppedTargets.length}
        onMove={(next) => setOffset(next)}
      />
      {droppedTargets.slice(offset, offset + PAGE_SIZE).map((target, i) => (
        <div className={classes.dropped} key={offset + i}>
          <LabelTags labels={target.discoveredLabels} />
          <RelabelSteps target={target} />
        </div>
      ))}
    </>
  );
}

// `counts`: how many each job has.
export function DroppedTargets({ counts }: { counts: Record<string, number> }) {
  const pools = Object.keys(counts)
    .filter((pool) => (counts[pool] ?? 0) > 0)
    .sort();
  if (pools.length === 0) {
    return null;
  }
  return (
    <Card title="Dropped targets">
      {pools.map((pool) => {
        const count = counts[pool] ?? 0;
        return (
          <section className={classes.droppedPool} key={pool} aria-label={`Dropped of ${pool}`}>
            <p className={classes.note}>
              <b>{pool}</b>: {count.toLocaleString('en')} dropped by relabelling
            </p>
            <OnDemand button="Show them">
              <List scrapePool={pool} count={count} />
            </OnDemand>
          </section>
        );
      })}
    </Card>
  );
}
