// SPDX-License-Identifier: Apache-2.0
//
// One group's rules.
import type { AlertingRule, Labels, Rule, RuleGroup as Group } from '../../api/types';
import { Annotations } from '../../components/Annotations';
import { Card } from '../../components/Card';
import { LabelTags } from '../../components/LabelSet';
import { Link } from '../../components/Link';
import { Pill, type Tone } from '../../components/Pill';
import { PromQL } from '../../components/PromQL';
import { useGradual } from '../../components/useGradual';
import { queryHref } from '../../lib/queryState';
import { ruleState, type RuleState } from '../../lib/rules';
import { formatAgo, formatDuration, formatElapsed } from '../../lib/time';
import { AlertList } from './AlertList';
import classes from '../pages.module.css';

const TONES: Record<RuleState, Tone> = {
  firing: 'bad',
  pending: 'warn',
  inactive: 'ok',
  error: 'bad',
  ok: 'ok',
  unknown: 'none',
};

const isEmpty = (labels: Labels | undefined) => Object.keys(labels ?? {}).length === 0;

function AlertingDetails({ rule, now }: { rule: AlertingRule; now: number }) {
  const { annotations, alerts = [], duration, keepFiringFor = 0 } = rule;
  return (
    <>
      {(duration > 0 || keepFiringFor > 0) && (
        <div className={classes.ruleMeta}>
          {duration > 0 && <span>for {formatDuration(duration * 1000)}</span>}
          {keepFiringFor > 0 && <span>keep firing for {formatDuration(keepFiringFor * 1000)}</span>}
        </div>
      )}
      {/* Templates; an active alert shows its own, expanded. */}
      {alerts.length === 0 && annotations !== undefined && !isEmpty(annotations) && (
        <Annotations annotations={annotations} />
      )}
      {alerts.length > 0 && <AlertList alerts={alerts} now={now} />}
    </>
  );
}

function RuleRow({ rule, now }: { rule: Rule; now: number }) {
  const state = ruleState(rule);
  return (
    <tr>
      <td>
        <div className={classes.ruleName}>{rule.name}</div>
        <div className={classes.ruleMeta}>{rule.type}</div>
        {rule.labels !== undefined && !isEmpty(rule.labels) && (
          <div className={classes.detailsBody}>
            <LabelTags labels={rule.labels} />
          </div>
        )}
      </td>
      <td className={classes.narrow}>
        <Pill tone={TONES[state]}>{state.toUpperCase()}</Pill>
      </td>
      <td>
        <Link className={classes.expr} href={queryHref(rule.query)} title="Open as a query">
          <PromQL code={rule.query} />
        </Link>
        {rule.lastError !== undefined && rule.lastError !== '' && (
          <div className={classes.error}>{rule.lastError}</div>
        )}
        {rule.type === 'alerting' && <AlertingDetails rule={rule} now={now} />}
      </td>
      <td className={classes.number}>{formatAgo(rule.lastEvaluation, now)}</td>
      <td className={classes.number}>{formatElapsed(rule.evaluationTime * 1000)}</td>
    </tr>
  );
}

export function RuleGroup({ group, now }: { group: Group; now: number }) {
  const { shown, end } = useGradual(group.rules.length, group.rules);
  return (
    <Card
      title={group.name}
      aside={
        <>
          <span className="mono">{group.file}</span>
          <span>every {formatDuration(group.interval * 1000)}</span>
          <span>
            last {formatAgo(group.lastEvaluation, now)}, took{' '}
            {formatElapsed(group.evaluationTime * 1000)}
          </span>
        </>
      }
    >
      <div className={classes.scroll}>
        <table className={classes.table}>
          <thead>
            <tr>
              <th scope="col" style={{ width: '22%' }}>
                Rule
              </th>
              <th scope="col">State</th>
              <th scope="col">Expression</th>
              <th scope="col" className={classes.number}>
                Evaluated
              </th>
              <th scope="col" className={classes.number}>
                Took
              </th>
            </tr>
          </thead>
          <tbody>
            {group.rules.slice(0, shown).map((rule, i) => (
              <RuleRow key={i} rule={rule} now={now} />
            ))}
          </tbody>
        </table>
        <div ref={end} />
      </div>
    </Card>
  );
}
