// SPDX-License-Identifier: Apache-2.0
//
// What each relabelling rule made of a target's labels, asked for when the user wants to know.
import { useCallback } from 'react';
import { api } from '../../api/client';
import type { DroppedTarget } from '../../api/types';
import { useApi } from '../../api/useApi';
import { LabelTags } from '../../components/LabelSet';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { OnDemand } from '../../components/OnDemand';
import { changedLabels, ruleText } from '../../lib/relabelling';
import classes from '../pages.module.css';

function Steps({ target }: { target: DroppedTarget }) {
  const { scrapePool, discoveredLabels } = target;
  const load = useCallback(
    (signal: AbortSignal) => api.relabelSteps(scrapePool, discoveredLabels, signal),
    [scrapePool, discoveredLabels],
  );
  const { answer, error } = useApi(load);
  if (error !== null) {
    return (
      <Notice kind="error" title="The steps could not be loaded">
        {error.message}
      </Notice>
    );
  }
  if (answer === null) {
    return <Loading what="the steps" />;
  }
  const { steps } = answer.data;
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
  return (
    <div className={classes.stack}>
      <h3>Relabelling</h3>
      <OnDemand button="Show the steps">
        <Steps target={target} />
      </OnDemand>
    </div>
  );
}
