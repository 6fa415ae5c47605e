// SPDX-License-Identifier: Apache-2.0
//
// Build and process, as the server tells them.
import type { ReactNode } from 'react';
import type { RuntimeInfo, StringMap } from '../../api/types';
import { useSettings } from '../../app/settings';
import { Card } from '../../components/Card';
import { Pill } from '../../components/Pill';
import { formatElapsed, formatTime } from '../../lib/time';
import classes from '../pages.module.css';

export type Fact = readonly [name: string, value: ReactNode];

export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl className={classes.facts}>
      {facts.map(([name, value]) => (
        <div key={name} className={classes.fact}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

// The names of the API in words; what is not listed is shown under its own name.
const BUILD_NAMES: Record<string, string> = {
  version: 'Version',
  revision: 'Revision',
  branch: 'Branch',
  buildUser: 'Built by',
  buildDate: 'Built on',
  goVersion: 'Compiler',
};

export function BuildCard({ info }: { info: StringMap }) {
  const facts = Object.entries(info)
    .filter(([, value]) => value !== '')
    .map(([name, value]): Fact => [BUILD_NAMES[name] ?? name, value]);
  return (
    <Card title="Build">
      <Facts facts={facts} />
    </Card>
  );
}

const RUNTIME_NAMES: Record<string, string> = {
  hostname: 'Host',
  CWD: 'Working directory',
  storageRetention: 'Retention',
  corruptionCount: 'Corruptions found',
  goroutineCount: 'Threads',
  GOMAXPROCS: 'Cores',
};

export function RuntimeCard({ info, now }: { info: RuntimeInfo; now: number }) {
  const { utc } = useSettings();
  const { startTime, serverTime, lastConfigTime, reloadConfigSuccess, ...rest } = info;
  const started = Date.parse(String(startTime));
  const facts: Fact[] = [
    ['Started', `${formatTime(started, utc)}, up ${formatElapsed(Math.max(0, now - started))}`],
    [
      'Configuration',
      <>
        <Pill tone={reloadConfigSuccess === true ? 'ok' : 'bad'}>
          {reloadConfigSuccess === true ? 'LOADED' : 'RELOAD FAILED'}
        </Pill>{' '}
        {formatTime(Date.parse(String(lastConfigTime)), utc)}
      </>,
    ],
  ];
  if (serverTime !== undefined) {
    facts.push(['Server time', formatTime(Date.parse(String(serverTime)), utc)]);
  }
  // Settings of another runtime have no meaning here when they are empty or zero.
  for (const [name, value] of Object.entries(rest)) {
    const words = RUNTIME_NAMES[name];
    if (words !== undefined || (value !== '' && value !== 0)) {
      facts.push([words ?? name, value.toLocaleString('en')]);
    }
  }
  return (
    <Card title="Process">
      <Facts facts={facts} />
    </Card>
  );
}
