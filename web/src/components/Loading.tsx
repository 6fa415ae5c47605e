// SPDX-License-Identifier: Apache-2.0
//
// Stands in for content that is still on its way.
import { Loader } from '@mantine/core';
import classes from './components.module.css';

export function Loading({ what }: { what: string }) {
  return (
    <div className={classes.loading} role="status">
      <Loader size="sm" color="var(--v-accent)" />
      <span>Loading {what}…</span>
    </div>
  );
}
