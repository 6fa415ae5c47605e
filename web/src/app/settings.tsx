// SPDX-License-Identifier: Apache-2.0
//
// What the user chose for every page, remembered by the browser. The colour scheme is Mantine's.
import { useLocalStorage } from '@mantine/hooks';
import { createContext, useContext, useMemo, type ReactNode } from 'react';

interface Settings {
  utc: boolean;
  setUtc: (utc: boolean) => void;
}

const SettingsContext = createContext<Settings>({ utc: false, setUtc: () => undefined });

export function SettingsProvider({ children }: { children: ReactNode }) {
  const [utc, setUtc] = useLocalStorage({
    key: 'varve.utc',
    defaultValue: false,
    getInitialValueInEffect: false,
  });
  const value = useMemo(() => ({ utc, setUtc }), [utc, setUtc]);
  return <SettingsContext.Provider value={value}>{children}</SettingsContext.Provider>;
}

export const useSettings = (): Settings => useContext(SettingsContext);
