// SPDX-License-Identifier: Apache-2.0
//
// Labels as small tags, and a whole series in PromQL's notation.
import { isBareMetricName, quoteLabelName } from '../lib/format';
import type { Labels } from '../api/types';
import classes from './components.module.css';

export function LabelTags({ labels }: { labels: Labels }) {
  return (
    <span className={classes.tags}>
      {Object.keys(labels)
        .sort()
        .map((name) => (
          <span key={name} className={classes.tag}>
            <span className={classes.labelName}>{quoteLabelName(name)}</span>=
            <span className={classes.labelValue}>{JSON.stringify(labels[name])}</span>
          </span>
        ))}
    </span>
  );
}

export function SeriesName({ labels }: { labels: Labels }) {
  const { __name__: name, ...rest } = labels;
  const quoted = name !== undefined && !isBareMetricName(name);
  const names = Object.keys(rest).sort();
  const braces = names.length > 0 || name === undefined || quoted;
  return (
    <span className={classes.series}>
      {!quoted && <span className={classes.metric}>{name}</span>}
      {braces && '{'}
      {quoted && <span className={classes.labelValue}>{JSON.stringify(name)}</span>}
      {names.map((label, i) => (
        <span key={label}>
          {(i > 0 || quoted) && ', '}
          <span className={classes.labelName}>{quoteLabelName(label)}</span>=
          <span className={classes.labelValue}>{JSON.stringify(rest[label])}</span>
        </span>
      ))}
      {braces && '}'}
    </span>
  );
}
