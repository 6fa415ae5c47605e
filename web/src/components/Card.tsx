// SPDX-License-Identifier: Apache-2.0
//
// A titled box; what a page is made of.
import { useId, type ReactNode } from 'react';
import classes from './components.module.css';

interface CardProps {
  title: ReactNode;
  // Beside the title, on the right.
  aside?: ReactNode;
  children: ReactNode;
}

export function Card({ title, aside, children }: CardProps) {
  const id = useId();
  return (
    <section className={classes.card} aria-labelledby={id}>
      <div className={classes.cardHead}>
        <h2 id={id}>{title}</h2>
        {aside !== undefined && <div className={classes.cardAside}>{aside}</div>}
      </div>
      {children}
    </section>
  );
}
