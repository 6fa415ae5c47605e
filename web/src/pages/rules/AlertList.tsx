// SPDX-License-Identifier: Apache-2.0
//
// The active alerts of one rule.
import type { Alert } from '../../api/types';
import { useSettings } from '../../app/settings';
import { Annotations } from '../../components/Annotations';
import { LabelTags } from '../../components/LabelSet';
import { Pill } from '../../components/Pill';
import { useGradual } from '../../components/useGradual';
import { plural } from '../../lib/format';
import { formatAgo, formatTime } from '../../lib/time';
import classes from '../pages.module.css';

// More than these start folded, so that one rule does not bury the next.
const OPEN_ALERTS_MAX = 5;

export function AlertList({ alerts, now }: { alerts: readonly Alert[]; now: number }) {
  const { utc } = useSettings();
  const { shown, end } = useGradual(alerts.length, alerts);
  return (
    <details className={classes.details} open={alerts.length <= OPEN_ALERTS_MAX}>
      <summary>{plural(alerts.length, 'active alert')}</summary>
      <table className={classes.inner}>
        <thead>
          <tr>
            <th scope="col">Labels</th>
            <th scope="col">State</th>
            <th scope="col">Since</th>
            <th scope="col">Value</th>
          </tr>
        </thead>
        <tbody>
          {alerts.slice(0, shown).map((alert, i) => (
            <tr key={i}>
              <td>
                <LabelTags labels={alert.labels} />
                {Object.keys(alert.annotations).length > 0 && (
                  <Annotations annotations={alert.annotations} />
                )}
              </td>
              <td className={classes.narrow}>
                <Pill tone={alert.state === 'firing' ? 'bad' : 'warn'}>
                  {alert.state.toUpperCase()}
                </Pill>
              </td>
              <td className={`${classes.narrow} num`}>
                {alert.activeAt !== undefined && (
                  <time
                    dateTime={alert.activeAt}
                    title={formatTime(Date.parse(alert.activeAt), utc)}
                  >
                    {formatAgo(alert.activeAt, now)}
                  </time>
                )}
              </td>
              <td className={`${classes.narrow} mono num`}>{Number(alert.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <div ref={end} />
    </details>
  );
}
