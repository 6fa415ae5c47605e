// SPDX-License-Identifier: Apache-2.0
//
// One scrape pool's targets, as far as they are on this page.
import { useState } from 'react';
import { Card } from '../../components/Card';
import { LabelTags } from '../../components/LabelSet';
import { Pill, type Tone } from '../../components/Pill';
import type { Target, TargetHealth } from '../../api/types';
import { formatAgo, formatElapsed } from '../../lib/time';
import { summarise, targetKey, webAddress, type Pool } from '../../lib/targets';
import { TargetHistory } from './TargetHistory';
import classes from '../pages.module.css';

const TONES: Record<TargetHealth, Tone> = { up: 'ok', down: 'bad', unknown: 'none' };
const COLUMNS = 6;

function TargetRow({ target, now }: { target: Target; now: number }) {
  const { scrapeUrl, globalUrl, health, labels, discoveredLabels, lastError } = target;
  const [open, setOpen] = useState(false);
  const scraped = Date.parse(target.lastScrape) > 0;
  return (
    <>
      <tr>
        <td>
          <a
            className={classes.url}
            href={webAddress(globalUrl)}
            target="_blank"
            rel="noopener noreferrer"
          >
            {scrapeUrl}
          </a>
          {lastError !== '' && <div className={classes.error}>{lastError}</div>}
          <div>
            <button
              type="button"
              className={classes.toggle}
              aria-expanded={open}
              onClick={() => setOpen(!open)}
            >
              {summarise(target.history)}
            </button>
          </div>
        </td>
        <td className={classes.narrow}>
          <Pill tone={TONES[health]}>{health.toUpperCase()}</Pill>
        </td>
        <td>
          <LabelTags labels={labels} />
          <details className={classes.details}>
            <summary>Discovered labels</summary>
            <div className={classes.detailsBody}>
              <LabelTags labels={discoveredLabels} />
            </div>
          </details>
        </td>
        <td className={classes.number}>{formatAgo(target.lastScrape, now)}</td>
        <td className={classes.number}>
          {scraped ? formatElapsed(target.lastScrapeDuration * 1000) : '–'}
        </td>
        <td className={classes.number}>{target.scrapeInterval}</td>
      </tr>
      {open && (
        <tr className={classes.historyRow}>
          <td colSpan={COLUMNS}>
            <TargetHistory target={target} />
          </td>
        </tr>
      )}
    </>
  );
}

interface TargetPoolProps {
  pool: Pool;
  dropped: number;
  now: number;
}

export function TargetPool({ pool, dropped, now }: TargetPoolProps) {
  return (
    <Card
      title={pool.name}
      aside={
        <>
          {dropped > 0 && <span>{dropped.toLocaleString('en')} dropped by relabelling</span>}
          <Pill tone={pool.up === pool.total ? 'ok' : pool.up === 0 ? 'bad' : 'warn'}>
            {pool.up} / {pool.total} up
          </Pill>
        </>
      }
    >
      <div className={classes.scroll}>
        <table className={`${classes.table} ${classes.targets}`}>
          <thead>
            <tr>
              <th scope="col">Endpoint</th>
              <th scope="col">State</th>
              <th scope="col">Labels</th>
              <th scope="col" className={classes.number}>
                Last scrape
              </th>
              <th scope="col" className={classes.number}>
                Took
              </th>
              <th scope="col" className={classes.number}>
                Every
              </th>
            </tr>
          </thead>
          <tbody>
            {pool.targets.map((target) => (
              <TargetRow key={targetKey(target)} target={target} now={now} />
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
