// SPDX-License-Identifier: Apache-2.0
//
// Runs a panel's expression and keeps the last result while the next one is on its way.
import { useCallback, useEffect, useRef, useState } from 'react';
import { api, type Answer, type RangeParams } from '../../api/client';
import type { Loadable } from '../../api/useApi';
import type { QueryData } from '../../api/types';
import { effectiveStep, type PanelState, type Tab } from '../../lib/queryState';

// The result, with the tab and time range it was asked for.
export interface QueryResult extends Answer<QueryData> {
  tab: Tab;
  range: RangeParams;
}

function rangeOf(panel: PanelState): RangeParams {
  const end = (panel.endMs ?? Date.now()) / 1000;
  return { start: end - panel.rangeMs / 1000, end, step: effectiveStep(panel) };
}

async function run(panel: PanelState, signal: AbortSignal): Promise<QueryResult> {
  const range = rangeOf(panel);
  const answer =
    panel.tab === 'graph'
      ? await api.queryRange(panel.expr, range, signal)
      : await api.query(panel.expr, (panel.momentMs ?? Date.now()) / 1000, signal);
  return { ...answer, tab: panel.tab, range };
}

// Runs again when what is asked changes, and when `round` does.
export function useQuery(panel: PanelState, round: number) {
  const [state, setState] = useState<Loadable<QueryData> & { answer: QueryResult | null }>({
    answer: null,
    error: null,
    loading: false,
  });
  const running = useRef<AbortController | null>(null);
  const { expr, tab, momentMs, endMs, rangeMs, stepMs, density } = panel;
  // Of the times, only those the tab uses.
  const times = tab === 'graph' ? [endMs, rangeMs, stepMs, density].join() : String(momentMs);

  useEffect(() => {
    if (expr.trim() === '') {
      setState({ answer: null, error: null, loading: false });
      return undefined;
    }
    const abort = new AbortController();
    running.current = abort;
    setState((last) => ({ ...last, loading: true }));
    run(panel, abort.signal).then(
      (answer) => {
        if (!abort.signal.aborted) {
          setState({ answer, error: null, loading: false });
        }
      },
      (error: Error) => {
        if (!abort.signal.aborted) {
          setState({ answer: null, error, loading: false });
        }
      },
    );
    return () => abort.abort();
    // `panel` is a new object on every render; what matters of it is named below.
  }, [expr, tab, times, round]);

  // Gives up waiting; the server stops too once it sees the connection go.
  const cancel = useCallback(() => {
    running.current?.abort();
    setState((last) => ({ ...last, loading: false }));
  }, []);

  return { ...state, cancel };
}
