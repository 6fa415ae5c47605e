// SPDX-License-Identifier: Apache-2.0
//
// What is scraped, and how that goes: failing targets first. The server filters and cuts pages.
import { useDebouncedValue } from '@mantine/hooks';
import { useCallback, useMemo } from 'react';
import { api } from '../../api/client';
import type { HealthCounts } from '../../api/types';
import { useApi } from '../../api/useApi';
import { useSearchParam } from '../../app/router';
import { FilterTabs } from '../../components/FilterTabs';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { Pager } from '../../components/Pager';
import { RefreshButton } from '../../components/RefreshButton';
import { SearchBox } from '../../components/SearchBox';
import { groupTargets, sumCounts } from '../../lib/targets';
import { formatAgo } from '../../lib/time';
import { DroppedTargets } from './DroppedTargets';
import { TargetPool } from './TargetPool';
import classes from '../pages.module.css';

const PAGE_SIZE = 100;
// While someone types, the server is asked once.
const TYPING_MS = 200;

const NO_COUNTS: HealthCounts = { up: 0, down: 0, unknown: 0 };

// The parameters of the address as what the server is asked.
function useTargets(health: string, search: string, offset: number) {
  const load = useCallback(
    (signal: AbortSignal) =>
      api.targets(
        { health: health === 'all' ? '' : health, search, offset, limit: PAGE_SIZE },
        signal,
      ),
    [health, search, offset],
  );
  return useApi(load);
}

export function TargetsPage() {
  const [health, setHealth] = useSearchParam('health', 'all');
  const [search, setSearch] = useSearchParam('search', '');
  const [from, setFrom] = useSearchParam('from', '0');
  const [typed] = useDebouncedValue(search, TYPING_MS);
  const offset = Math.max(0, Math.trunc(Number(from)) || 0);
  const { answer, error, loading, refresh, loadedAt } = useTargets(health, typed, offset);
  const discovery = useApi(api.discoveries);

  const data = answer?.data;
  const count = data?.healthCounts ?? NO_COUNTS;
  const pools = useMemo(
    () => (data === undefined ? [] : groupTargets(data.activeTargets, data.poolCounts)),
    [data],
  );
  // Another filter has pages of its own.
  const filter = (set: (value: string) => void) => (value: string) => {
    set(value);
    setFrom('0');
  };
  const stale = discovery.answer?.data.discoveries.filter((one) => one.stale) ?? [];
  const dropped = data?.droppedTargetCounts ?? {};
  const pager = (
    <Pager
      offset={offset}
      size={PAGE_SIZE}
      total={data?.activeTargetsTotal ?? 0}
      onMove={(next) => setFrom(String(next))}
    />
  );
  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <h1>Targets</h1>
        <FilterTabs
          label="Health"
          value={health}
          onChange={filter(setHealth)}
          options={[
            { value: 'all', text: 'All', count: sumCounts(count) },
            { value: 'up', text: 'Up', count: count.up },
            { value: 'down', text: 'Down', count: count.down },
            { value: 'unknown', text: 'Unknown', count: count.unknown },
          ]}
        />
        <div className={classes.tools}>
          <SearchBox label="Filter targets" value={search} onChange={filter(setSearch)} />
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
      {data !== undefined && pools.length === 0 && (
        <p className={classes.empty}>
          {Object.keys(data.poolCounts).length === 0
            ? 'Nothing is scraped yet.'
            : 'No target matches the filters.'}
        </p>
      )}
      {pager}
      {pools.map((pool) => (
        <TargetPool key={pool.name} pool={pool} dropped={dropped[pool.name] ?? 0} now={loadedAt} />
      ))}
      {pools.length > 0 && pager}
      <DroppedTargets counts={dropped} />
    </div>
  );
}
