// SPDX-License-Identifier: Apache-2.0
//
// A scrape of one target now: what it would store, of which nothing is stored.
import { Button, TextInput } from '@mantine/core';
import { useCallback, useMemo, useState } from 'react';
import { api } from '../../api/client';
import type { ScrapePreview, Target, VectorItem } from '../../api/types';
import { useApi } from '../../api/useApi';
import { SeriesName } from '../../components/LabelSet';
import { Loading } from '../../components/Loading';
import { Notice } from '../../components/Notice';
import { OnDemand } from '../../components/OnDemand';
import { useGradual } from '../../components/useGradual';
import {
  formatBytes,
  formatHistogram,
  formatSeries,
  matchesSearch,
  plural,
} from '../../lib/format';
import { formatElapsed } from '../../lib/time';
import classes from '../pages.module.css';

const SAMPLES_MAX = 10_000;

function SampleTable({ samples }: { samples: readonly VectorItem[] }) {
  const { shown, end } = useGradual(samples.length, samples);
  return (
    <div className={classes.samples} tabIndex={0} role="region" aria-label="Scraped samples">
      <table className={classes.table}>
        <tbody>
          {samples.slice(0, shown).map(({ metric, value, histogram }, i) => (
            <tr key={i}>
              <td>
                <SeriesName labels={metric} />
              </td>
              <td className={classes.number}>
                {value !== undefined ? value[1] : histogram ? formatHistogram(histogram[1]) : ''}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div ref={end} />
    </div>
  );
}

function summary(preview: ScrapePreview): string {
  const { samplesScraped, samplesAfterRelabelling, duplicateSamples } = preview;
  const parts = [
    plural(samplesScraped, 'sample'),
    samplesAfterRelabelling < samplesScraped &&
      `${samplesAfterRelabelling.toLocaleString('en')} after relabelling`,
    duplicateSamples > 0 && `${plural(duplicateSamples, 'duplicate')} left out`,
    formatBytes(preview.bodyBytes),
    `in ${formatElapsed(preview.duration * 1000)}`,
    preview.contentType,
  ];
  return parts.filter((part) => part !== false && part !== '').join(', ');
}

function Preview({ preview }: { preview: ScrapePreview }) {
  const [search, setSearch] = useState('');
  const { samples } = preview;
  const found = useMemo(
    () =>
      search.trim() === ''
        ? samples
        : samples.filter(({ metric }) => matchesSearch(formatSeries(metric), search.trim())),
    [samples, search],
  );
  return (
    <>
      {preview.error !== '' && (
        <Notice kind="error" title="This scrape would fail">
          {preview.error}
        </Notice>
      )}
      {preview.contentType !== '' && <p className={classes.note}>{summary(preview)}</p>}
      {samples.length > 0 && (
        <>
          <TextInput
            type="search"
            size="xs"
            aria-label="Filter samples"
            placeholder="Filter samples"
            value={search}
            onChange={(event) => setSearch(event.currentTarget.value)}
            w={300}
          />
          <SampleTable samples={found} />
        </>
      )}
      {preview.truncated && (
        <p className={classes.note}>Only the first {plural(samples.length, 'sample')} are shown.</p>
      )}
    </>
  );
}

function Asked({ pool, url }: { pool: string; url: string }) {
  const load = useCallback(
    (signal: AbortSignal) => api.scrapeNow(pool, url, SAMPLES_MAX, signal),
    [pool, url],
  );
  const { answer, error, loading, refresh } = useApi(load);
  return (
    <>
      <Button size="xs" variant="default" aria-busy={loading} onClick={refresh}>
        Scrape again
      </Button>
      {loading && answer === null && <Loading what="the target" />}
      {error !== null && (
        <Notice kind="error" title="The target could not be scraped">
          {error.message}
        </Notice>
      )}
      {error === null && answer !== null && <Preview preview={answer.data} />}
    </>
  );
}

export function ScrapeResult({ target }: { target: Target }) {
  return (
    <div className={classes.stack}>
      <h3>Scrape now</h3>
      <p className={classes.note}>
        Asks the target now, beside its own rhythm, and shows what would be stored. Nothing is
        stored.
      </p>
      <OnDemand button="Scrape now">
        <Asked pool={target.scrapePool} url={target.scrapeUrl} />
      </OnDemand>
    </div>
  );
}
