// SPDX-License-Identifier: Apache-2.0
//
// Client-side addresses: the last path segment names the page, the search part its state.
import { useSyncExternalStore } from 'react';
import { basePath } from '../api/client';

const listeners = new Set<() => void>();

function notify(): void {
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) {
    window.addEventListener('popstate', notify);
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      window.removeEventListener('popstate', notify);
    }
  };
}

export function usePage(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname.slice(basePath.length + 1));
}

export function useSearch(): string {
  return useSyncExternalStore(subscribe, () => window.location.search);
}

// `to` is relative to the route prefix ("targets", "query?g0.expr=up"), or only a search part.
export function navigate(to: string, how: 'push' | 'replace' = 'push'): void {
  const url = to.startsWith('?') ? `${window.location.pathname}${to}` : `${basePath}/${to}`;
  if (how === 'replace') {
    window.history.replaceState(null, '', url);
  } else {
    window.history.pushState(null, '', url);
  }
  notify();
}

// One value of the search part, as state: useSearchParam('filter', 'all').
export function useSearchParam(name: string, initial: string): [string, (value: string) => void] {
  const value = new URLSearchParams(useSearch()).get(name) ?? initial;
  const set = (next: string) => {
    const params = new URLSearchParams(window.location.search);
    if (next === initial) {
      params.delete(name);
    } else {
      params.set(name, next);
    }
    navigate(`?${params.toString()}`, 'replace');
  };
  return [value, set];
}
