// SPDX-License-Identifier: Apache-2.0
//
// What is scraped, and how that goes: failing targets first.
import { useMemo } from 'react';
import { api } from '../../api/client';
import type { Target } from '../../api/types';
import { useApi } from '../../api/useApi';
import { useSearchParam } from '../../app/router';
import { FilterTabs } from '../../components/FilterTabs';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { RefreshButton } from '../../components/RefreshButton';
import { SearchBox } from '../../components/SearchBox';
import { groupTargets, type HealthFilter } from '../../lib/targets';
import { formatAgo } from '../../lib/time';
import { TargetPool } from './TargetPool';
import classes from '../pages.module.css';

function counts(targets: readonly Target[]) {
  const up = targets.filter((target) => target.health === 'up').length;
  const down = targets.filter((target) => target.health === 'down').length;
  return { all: targets.length, up, down, unknown: targets.length - up - down };
}

const NO_TARGETS: Target[] = [];

export function TargetsPage() {
  const { answer, error, loading, refresh, loadedAt } = useApi(api.targets);
  const discovery = useApi(api.discoveries);
  const [health, setHealth] = useSearchParam('health', 'all');
  const [search, setSearch] = useSearchParam('search', '');

  const targets = answer?.data.activeTargets ?? NO_TARGETS;
  const count = useMemo(() => counts(targets), [targets]);
  const pools = useMemo(() => groupTargets(targets, health, search), [targets, health, search]);
  const stale = discovery.answer?.data.discoveries.filter((one) => one.stale) ?? [];
  const dropped = answer?.data.droppedTargetCounts ?? {};
  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <h1>Targets</h1>
        <FilterTabs<HealthFilter>
          label="Health"
          value={health}
          onChange={setHealth}
          options={[
            { value: 'all', text: 'All', count: count.all },
            { value: 'up', text: 'Up', count: count.up },
            { value: 'down', text: 'Down', count: count.down },
            { value: 'unknown', text: 'Unknown', count: count.unknown },
          ]}
        />
        <div className={classes.tools}>
          <SearchBox label="Filter targets" value={search} onChange={setSearch} />
          <RefreshButton
            loading={loading}
            onClick={() => {
              refresh();
              discovery.refresh();
            }}
          />
        </div>
      </div>
      {error !== null && (
        <Notice kind="error" title="Targets could not be loaded">
          {error.message}
        </Notice>
      )}
      {stale.map((one) => (
        <Notice
          key={`${one.scrapePool} ${one.mechanism} ${one.source}`}
          kind="warning"
          title={`Service discovery of ${one.scrapePool} fails (${one.mechanism})`}
        >
          Failing since {formatAgo(one.failingSince, discovery.loadedAt)}; its targets are those
          found before. {one.source}: {one.lastError}
        </Notice>
      ))}
      {answer === null && loading && <Loading what="targets" />}
      {answer !== null && pools.length === 0 && (
        <p className={classes.empty}>
          {targets.length === 0 ? 'Nothing is scraped yet.' : 'No target matches the filters.'}
        </p>
      )}
      {pools.map((pool) => (
        <TargetPool key={pool.name} pool={pool} dropped={dropped[pool.name] ?? 0} now={loadedAt} />
      ))}
    </div>
  );
}
