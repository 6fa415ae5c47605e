// SPDX-License-Identifier: Apache-2.0
//
// One request of a component: loads on mount and on refresh(), keeps the last answer meanwhile.
import { useCallback, useEffect, useState } from 'react';
import type { Answer } from './client';

export interface Loadable<T> {
  answer: Answer<T> | null;
  error: Error | null;
  loading: boolean;
}

export interface Refreshable<T> extends Loadable<T> {
  refresh: () => void;
  // When the newest answer came, in ms; ages are shown relative to it.
  loadedAt: number;
}

// `load` must keep its identity between renders, as the members of `api` do.
export function useApi<T>(load: (signal: AbortSignal) => Promise<Answer<T>>): Refreshable<T> {
  const [round, setRound] = useState(0);
  const [loadedAt, setLoadedAt] = useState(() => Date.now());
  const [state, setState] = useState<Loadable<T>>({ answer: null, error: null, loading: true });

  useEffect(() => {
    const abort = new AbortController();
    setState((last) => ({ ...last, loading: true }));
    load(abort.signal).then(
      (answer) => {
        if (abort.signal.aborted) {
          return;
        }
        setLoadedAt(Date.now());
        setState({ answer, error: null, loading: false });
      },
      (error: Error) => {
        if (!abort.signal.aborted) {
          setState((last) => ({ ...last, error, loading: false }));
        }
      },
    );
    return () => abort.abort();
  }, [load, round]);

  const refresh = useCallback(() => setRound((n) => n + 1), []);
  return { ...state, refresh, loadedAt };
}
