// SPDX-License-Identifier: Apache-2.0
//
// A state as a small coloured word.
import type { ReactNode } from 'react';
import classes from './components.module.css';

export type Tone = 'ok' | 'bad' | 'warn' | 'none' | 'info';

export function Pill({ tone, children }: { tone: Tone; children: ReactNode }) {
  return (
    <span className={classes.pill} data-tone={tone}>
      {children}
    </span>
  );
}
