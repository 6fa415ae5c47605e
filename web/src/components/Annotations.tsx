// SPDX-License-Identifier: Apache-2.0
//
// An alert's annotations: names and texts.
import type { Labels } from '../api/types';
import classes from './components.module.css';

export function Annotations({ annotations }: { annotations: Labels }) {
  return (
    <dl className={classes.annotations}>
      {Object.entries(annotations).map(([name, text]) => (
        <div key={name} className={classes.annotation}>
          <dt>{name}</dt>
          <dd>{text}</dd>
        </div>
      ))}
    </dl>
  );
}
