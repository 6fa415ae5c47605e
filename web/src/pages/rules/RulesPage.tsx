// SPDX-License-Identifier: Apache-2.0
//
// Rule groups with the state of each rule; with `only` alerting it is the alerts page.
import { useMemo } from 'react';
import { api } from '../../api/client';
import type { RuleGroup as Group } from '../../api/types';
import { useApi } from '../../api/useApi';
import { useSearchParam } from '../../app/router';
import { FilterTabs } from '../../components/FilterTabs';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { RefreshButton } from '../../components/RefreshButton';
import { SearchBox } from '../../components/SearchBox';
import { countStates, filterGroups, onlyAlerting } from '../../lib/rules';
import { RuleGroup } from './RuleGroup';
import classes from '../pages.module.css';

const NO_GROUPS: Group[] = [];

export function RulesPage({ only }: { only: 'all' | 'alerting' }) {
  const { answer, error, loading, refresh, loadedAt } = useApi(api.rules);
  const [state, setState] = useSearchParam('state', 'all');
  const [search, setSearch] = useSearchParam('search', '');

  const all = answer?.data.groups ?? NO_GROUPS;
  const groups = useMemo(() => (only === 'alerting' ? onlyAlerting(all) : all), [all, only]);
  const count = useMemo(() => countStates(groups), [groups]);
  const shown = useMemo(() => filterGroups(groups, state, search), [groups, state, search]);
  const alerts = [
    { value: 'firing', text: 'Firing', count: count.firing },
    { value: 'pending', text: 'Pending', count: count.pending },
    { value: 'inactive', text: 'Inactive', count: count.inactive },
  ];
  const noun = only === 'alerting' ? 'alerts' : 'rules';
  return (
    <div className={classes.page}>
      <div className={classes.head}>
        <h1>{only === 'alerting' ? 'Alerts' : 'Rules'}</h1>
        <FilterTabs
          label="State"
          value={state}
          onChange={setState}
          options={[
            { value: 'all', text: 'All' },
            { value: 'error', text: 'Failing', count: count.error },
            ...alerts,
            ...(only === 'all' ? [{ value: 'ok', text: 'Recording', count: count.ok }] : []),
          ]}
        />
        <div className={classes.tools}>
          <SearchBox label={`Filter ${noun}`} value={search} onChange={setSearch} />
          <RefreshButton loading={loading} onClick={refresh} />
        </div>
      </div>
      {error !== null && (
        <Notice kind="error" title="Rules could not be loaded">
          {error.message}
        </Notice>
      )}
      {answer === null && loading && <Loading what={noun} />}
      {answer !== null && shown.length === 0 && (
        <p className={classes.empty}>
          {groups.length === 0
            ? `No ${noun} are configured. Name rule files under rule_files.`
            : `No ${noun} match the filters.`}
        </p>
      )}
      {shown.map((group) => (
        <RuleGroup key={`${group.file} ${group.name}`} group={group} now={loadedAt} />
      ))}
    </div>
  );
}
