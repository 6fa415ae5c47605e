// SPDX-License-Identifier: Apache-2.0
//
// Targets that relabelling drops, a job at a time and asked for when the user wants them: what was
// discovered of each, and the rule that drops it.
import { useCallback, useState } from 'react';
import { api } from '../../api/client';
import type { DroppedTarget } from '../../api/types';
import { Card } from '../../components/Card';
import { LabelTags } from '../../components/LabelSet';
import { Loaded } from '../../components/Loaded';
import { OnDemand } from '../../components/OnDemand';
import { Pager } from '../../components/Pager';
import { RelabelSteps } from './RelabelSteps';
import classes from '../pages.module.css';

const PAGE_SIZE = 20;

function List({ targets, count }: { targets: DroppedTarget[]; count: number }) {
  const [offset, setOffset] = useState(0);
  return (
    <>
      {targets.length < count && (
        <p className={classes.note}>
          {targets.length.toLocaleString('en')} of them are kept to be looked at.
        </p>
      )}
      <Pager
        offset={offset}
        size={PAGE_SIZE}
        total={targets.length}
        onMove={(next) => setOffset(next)}
      />
      {targets.slice(offset, offset + PAGE_SIZE).map((target, i) => (
        <div className={classes.dropped} key={offset + i}>
          <LabelTags labels={target.discoveredLabels} />
          <RelabelSteps target={target} />
        </div>
      ))}
    </>
  );
}

function Pool({ scrapePool, count }: { scrapePool: string; count: number }) {
  const load = useCallback(
    (signal: AbortSignal) => api.droppedTargets(scrapePool, signal),
    [scrapePool],
  );
  return (
    <section className={classes.droppedPool} aria-label={`Dropped of ${scrapePool}`}>
      <p className={classes.note}>
        <b>{scrapePool}</b>: {count.toLocaleString('en')} dropped by relabelling
      </p>
      <OnDemand button="Show them">
        <Loaded load={load} what="dropped targets">
          {({ droppedTargets }) => <List targets={droppedTargets} count={count} />}
        </Loaded>
      </OnDemand>
    </section>
  );
}

// `counts`: how many each job has.
export function DroppedTargets({ counts }: { counts: Record<string, number> }) {
  const pools = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (pools.length === 0) {
    return null;
  }
  return (
    <Card title="Dropped targets">
      {pools.map(([pool, count]) => (
        <Pool key={pool} scrapePool={pool} count={count} />
      ))}
    </Card>
  );
}
