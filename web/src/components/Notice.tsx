// SPDX-License-Identifier: Apache-2.0
//
// A message in the page: an error, a warning, an information.
import type { ReactNode } from 'react';
import classes from './components.module.css';

export type NoticeKind = 'error' | 'warning' | 'info';

interface NoticeProps {
  kind: NoticeKind;
  title?: string;
  children: ReactNode;
}

export function Notice({ kind, title, children }: NoticeProps) {
  return (
    <div className={classes.notice} data-kind={kind} role={kind === 'error' ? 'alert' : 'status'}>
      {title !== undefined && <strong>{title}</strong>}
      <div className={classes.noticeText}>{children}</div>
    </div>
  );
}
