// SPDX-License-Identifier: Apache-2.0
//
// What each relabelling rule made of a target's labels, asked for when the user wants to know.
import { useCallback } from 'react';
import { api } from '../../api/client';
import type { DroppedTarget, Labels, RelabelStep } from '../../api/types';
import { LabelTags } from '../../components/LabelSet';
import { Loaded } from '../../components/Loaded';
import { OnDemand } from '../../components/OnDemand';
import { changedLabels, ruleText } from '../../lib/relabelling';
import classes from '../pages.module.css';

function Steps({ steps, discoveredLabels }: { steps: RelabelStep[]; discoveredLabels: Labels }) {
  if (steps.length === 0) {
    return <p className={classes.note}>The job has no relabelling rules.</p>;
  }
  const dropping = steps.findIndex(({ keep }) => !keep);
  const applied = dropping < 0 ? steps : steps.slice(0, dropping + 1);
  return (
    <table className={classes.inner}>
      <thead>
        <tr>
          <th scope="col">Rule</th>
          <th scope="col">Set</th>
          <th scope="col">Deleted</th>
        </tr>
      </thead>
      <tbody>
        {applied.map(({ rule, output, keep }, i) => {
          const before = i === 0 ? discoveredLabels : (steps[i - 1]?.output ?? {});
          const { set, deleted } = changedLabels(before, output);
          if (!keep) {
            return (
              <tr key={i}>
                <td className={classes.rule}>{ruleText(rule)}</td>
                <td colSpan={2}>The target is dropped.</td>
              </tr>
            );
          }
          return (
            <tr key={i}>
              <td className={classes.rule}>{ruleText(rule)}</td>
              <td>
                <LabelTags labels={set} />
              </td>
              <td>{deleted.join(', ')}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

// Of any target: one that is scraped has these fields, too.
export function RelabelSteps({ target }: { target: DroppedTarget }) {
  const { scrapePool, discoveredLabels } = target;
  const load = useCallback(
    (signal: AbortSignal) => api.relabelSteps(scrapePool, discoveredLabels, signal),
    [scrapePool, discoveredLabels],
  );
  return (
    <div className={classes.stack}>
      <h3>Relabelling</h3>
      <OnDemand button="Show the steps">
        <Loaded load={load} what="steps">
          {({ steps }) => <Steps steps={steps} discoveredLabels={discoveredLabels} />}
        </Loaded>
      </OnDemand>
    </div>
  );
}
