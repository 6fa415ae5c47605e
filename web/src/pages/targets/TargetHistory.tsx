// SPDX-License-Identifier: Apache-2.0
//
// How one target's scrapes went: its failures, what was dropped and why, sizes beside their limits.
import type { ScrapeFailures, ScrapeHistory, Target } from '../../api/types';
import { useSettings } from '../../app/settings';
import { Pill } from '../../components/Pill';
import { plural } from '../../lib/format';
import { DROP_REASONS, sizesAgainstLimits, type SizeRow } from '../../lib/targets';
import { formatElapsed, formatTime } from '../../lib/time';
import { RelabelSteps } from './RelabelSteps';
import { ScrapeResult } from './ScrapeResult';
import classes from '../pages.module.css';

// From this share of a limit on it is worth a warning.
const NEAR_LIMIT = 0.8;

function Failures({ failures, utc }: { failures: readonly ScrapeFailures[]; utc: boolean }) {
  if (failures.length === 0) {
    return <p className={classes.note}>No scrape has failed since the target was found.</p>;
  }
  const time = (iso: string) => formatTime(Date.parse(iso), utc);
  return (
    <table className={classes.inner}>
      <thead>
        <tr>
          <th scope="col">From</th>
          <th scope="col">To</th>
          <th scope="col" className={classes.number}>
            Scrapes
          </th>
          <th scope="col">Error</th>
        </tr>
      </thead>
      <tbody>
        {failures.map(({ first, last, count, error }) => (
          <tr key={`${first} ${error}`}>
            <td className={classes.narrow}>{time(first)}</td>
            <td className={classes.narrow}>{time(last)}</td>
            <td className={classes.number}>{count.toLocaleString('en')}</td>
            <td className={classes.url}>{error}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Dropped({ history }: { history: ScrapeHistory }) {
  const dropped = DROP_REASONS.filter(([reason]) => history.droppedSamples[reason] > 0);
  if (dropped.length === 0) {
    return <p className={classes.note}>No sample was dropped.</p>;
  }
  return (
    <table className={classes.inner}>
      <thead>
        <tr>
          <th scope="col" className={classes.number}>
            Samples
          </th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        {dropped.map(([reason, why]) => (
          <tr key={reason}>
            <td className={classes.number}>
              {history.droppedSamples[reason].toLocaleString('en')}
            </td>
            <td>{why}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Share({ share }: { share: number | null }) {
  if (share === null) {
    return null;
  }
  if (share > 1) {
    return <Pill tone="bad">over</Pill>;
  }
  return <Pill tone={share >= NEAR_LIMIT ? 'warn' : 'ok'}>{Math.round(share * 100)}%</Pill>;
}

function Sizes({ rows }: { rows: readonly SizeRow[] }) {
  return (
    <table className={classes.inner}>
      <thead>
        <tr>
          <th scope="col">Last scrape</th>
          <th scope="col" className={classes.number}>
            Size
          </th>
          <th scope="col" className={classes.number}>
            Limit
          </th>
          <th scope="col">Used</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ what, size, limit, share }) => (
          <tr key={what}>
            <td>{what}</td>
            <td className={classes.number}>{size}</td>
            <td className={classes.number}>{limit}</td>
            <td className={classes.narrow}>
              <Share share={share} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function TargetHistory({ target }: { target: Target }) {
  const { utc } = useSettings();
  const { history } = target;
  const duration: SizeRow = {
    what: 'Time',
    size: formatElapsed(target.lastScrapeDuration * 1000),
    limit: target.scrapeTimeout,
    share: null,
  };
  const { samples, seriesAdded } = history.lastScrape;
  return (
    <div className={classes.history}>
      <div className={classes.stack}>
        <h3>Failures</h3>
        {history.failedScrapes > 0 && (
          <p className={classes.note}>
            {history.failedScrapes.toLocaleString('en')} of {plural(history.scrapes, 'scrape')}{' '}
            failed
          </p>
        )}
        <Failures failures={history.failures} utc={utc} />
      </div>
      <div className={classes.columns}>
        <div className={classes.stack}>
          <h3>Sizes and limits</h3>
          <p className={classes.note}>
            {plural(samples, 'sample')} read, {seriesAdded.toLocaleString('en')} of series that were
            not there before
          </p>
          <Sizes rows={[duration, ...sizesAgainstLimits(target)]} />
        </div>
        <div className={classes.stack}>
          <h3>Dropped samples</h3>
          <Dropped history={history} />
        </div>
      </div>
      <RelabelSteps target={target} />
      <ScrapeResult target={target} />
    </div>
  );
}
