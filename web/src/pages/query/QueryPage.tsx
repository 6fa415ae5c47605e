// SPDX-License-Identifier: Apache-2.0
//
// The query page: panels, whose state is the address.
import { Button } from '@mantine/core';
import { useMemo, useRef } from 'react';
import { navigate, useSearch } from '../../app/router';
import { PlusIcon } from '../../components/icons';
import {
  DEFAULT_PANEL,
  PANELS_MAX,
  decodePanels,
  encodePanels,
  type PanelState,
} from '../../lib/queryState';
import { useQueryHistory } from './history';
import { QueryPanel } from './QueryPanel';
import classes from './query.module.css';

export default function QueryPage() {
  const search = useSearch();
  const panels = useMemo(() => decodePanels(search), [search]);
  const { history, remember, clear } = useQueryHistory();

  // Panels have no name in the address; these keep their drafts apart when one is removed.
  const keys = useRef<number[]>([]);
  const nextKey = useRef(0);
  while (keys.current.length < panels.length) {
    keys.current.push(nextKey.current++);
  }

  const show = (next: PanelState[], how: 'push' | 'replace') =>
    navigate(`query${encodePanels(next)}`, how);
  // From the address as it is now: what calls this may stem from an earlier drawing.
  const change = (index: number, part: Partial<PanelState>, how: 'push' | 'replace') =>
    show(
      decodePanels(window.location.search).map((panel, i) =>
        i === index ? { ...panel, ...part } : panel,
      ),
      how,
    );
  const remove = (index: number) => {
    keys.current.splice(index, 1);
    show(
      panels.filter((_, i) => i !== index),
      'push',
    );
  };

  return (
    <div className={classes.page}>
      <h1 className="hidden-text">Query</h1>
      {panels.map((panel, i) => (
        <QueryPanel
          key={keys.current[i]}
          panel={panel}
          number={i + 1}
          onChange={(part, how) => change(i, part, how)}
          onRemove={panels.length > 1 ? () => remove(i) : null}
          history={history}
          onExecuted={remember}
          onClearHistory={clear}
        />
      ))}
      {panels.length < PANELS_MAX && (
        <Button
          className={classes.add}
          variant="default"
          size="sm"
          leftSection={<PlusIcon />}
          onClick={() => show([...panels, { ...DEFAULT_PANEL }], 'push')}
        >
          Add query
        </Button>
      )}
    </div>
  );
}
