// SPDX-License-Identifier: Apache-2.0
//
// Expressions executed in this browser, newest first.
import { useLocalStorage } from '@mantine/hooks';

const HISTORY_MAX = 50;

export function useQueryHistory() {
  const [history, setHistory] = useLocalStorage<string[]>({
    key: 'varve.history',
    defaultValue: [],
    getInitialValueInEffect: false,
  });
  const remember = (expr: string) =>
    setHistory((last) => [expr, ...last.filter((old) => old !== expr)].slice(0, HISTORY_MAX));
  const clear = () => setHistory([]);
  return { history, remember, clear };
}
