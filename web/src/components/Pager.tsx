// SPDX-License-Identifier: Apache-2.0
//
// The pages of a list that the server cuts: which part is shown, and the way to the next.
import { Button } from '@mantine/core';
import classes from './components.module.css';

interface PagerProps {
  // Of the first entry shown, from 0.
  offset: number;
  size: number;
  total: number;
  onMove: (offset: number) => void;
}

export function Pager({ offset, size, total, onMove }: PagerProps) {
  if (total <= size && offset === 0) {
    return null;
  }
  const number = (n: number) => n.toLocaleString('en');
  const end = Math.min(offset + size, total);
  return (
    <nav className={classes.pager} aria-label="Parts of the list">
      <Button
        size="xs"
        variant="default"
        disabled={offset === 0}
        onClick={() => onMove(Math.max(0, offset - size))}
      >
        Previous
      </Button>
      <span>
        {number(Math.min(offset + 1, end))}–{number(end)} of {number(total)}
      </span>
      <Button
        size="xs"
        variant="default"
        disabled={end >= total}
        onClick={() => onMove(offset + size)}
      >
        Next
      </Button>
    </nav>
  );
}
