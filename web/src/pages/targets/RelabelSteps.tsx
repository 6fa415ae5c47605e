// SPDX-License-Identifier: Apache-2.0
//
// What each relabelling rule made of a target's labels, asked for when the user wants to know.
import { useCallback } from 'react';
import { api } from '../../api/client';
import type { Target } from '../../api/types';
import { useApi } from '../../api/useApi';
import { LabelTags } from '../../components/LabelSet';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { OnDemand } from '../../components/OnDemand';
import { changedLabels, ruleText } from '../../lib/relabelling';
import classes from '../pages.module.css';

function Steps({ target }: { target: Target }) {
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
        {steps.map(({ rule, output }, i) => {
          const before = i === 0 ? discoveredLabels : (steps[i - 1]?.output ?? {});
          const { set, deleted } = changedLabels(before, output);
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

export function RelabelSteps({ target }: { target: Target }) {
  return (
    <div className={classes.stack}>
      <h3>Relabelling</h3>
      <OnDemand button="Show the steps">
        <Steps target={target} />
      </OnDemand>
    </div>
  );
}
