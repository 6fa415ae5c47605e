// SPDX-License-Identifier: Apache-2.0
//
// The one way to the HTTP API: typed requests, errors with the server's own words.
import type {
  Discoveries,
  DroppedTarget,
  Labels,
  QueryData,
  RelabelStep,
  Rules,
  RuntimeInfo,
  ScrapePreview,
  StringMap,
  Targets,
  TsdbStatus,
} from './types';

// Every page is one path segment below the route prefix, so the prefix is what precedes it.
export const basePath = window.location.pathname.replace(/\/[^/]*$/, '');

export class ApiError extends Error {
  constructor(
    message: string,
    readonly type: string,
  ) {
    super(message);
  }
}

export interface Answer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  elapsedMs: number;
}

interface Envelope<T> {
  status: 'success' | 'error';
  data: T;
  errorType?: string;
  error?: string;
  warnings?: string[];
  infos?: string[];
}

async function call<T>(path: string, init: RequestInit): Promise<Answer<T>> {
  const started = performance.now();
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${basePath}/api/v1/${path}`, init);
    text = await response.text();
  } catch (error) {
    if (init.signal?.aborted) {
      throw error;
    }
    throw new ApiError('The server cannot be reached.', 'network');
  }
  let body: Envelope<T>;
  try {
    body = JSON.parse(text) as Envelope<T>;
  } catch {
    const reason = text.trim().slice(0, 300) || response.statusText;
    throw new ApiError(`The server answered ${response.status}: ${reason}`, 'http');
  }
  if (body.status !== 'success') {
    throw new ApiError(body.error ?? `status ${response.status}`, body.errorType ?? 'http');
  }
  return {
    data: body.data,
    warnings: body.warnings ?? [],
    infos: body.infos ?? [],
    elapsedMs: performance.now() - started,
  };
}

const get = <T>(path: string, signal: AbortSignal) => call<T>(path, { signal });

// Posted as a form: expressions may be longer than an address can be.
const post = <T>(path: string, fields: Record<string, string>, signal: AbortSignal) =>
  call<T>(path, { method: 'POST', body: new URLSearchParams(fields), signal });

export interface RangeParams {
  start: number;
  end: number;
  step: number;
}

// Which targets to show: `health` may be empty, `search` is any words of them.
export interface TargetsParams {
  health: string;
  search: string;
  offset: number;
  limit: number;
}

// Times are in seconds.
export const api = {
  query: (query: string, time: number, signal: AbortSignal) =>
    post<QueryData>('query', { query, time: String(time), stats: 'true' }, signal),
  queryRange: (query: string, { start, end, step }: RangeParams, signal: AbortSignal) =>
    post<QueryData>(
      'query_range',
      { query, start: String(start), end: String(end), step: String(step), stats: 'true' },
      signal,
    ),
  targets: ({ health, search, offset, limit }: TargetsParams, signal: AbortSignal) => {
    const page = { health, search, offset: String(offset), limit: String(limit) };
    const params = new URLSearchParams({ state: 'active', details: 'true', ...page });
    return get<Targets>(`targets?${params.toString()}`, signal);
  },
  droppedTargets: (scrapePool: string, signal: AbortSignal) => {
    const params = new URLSearchParams({ state: 'dropped', scrapePool });
    return get<{ droppedTargets: DroppedTarget[] }>(`targets?${params.toString()}`, signal);
  },
  scrapeNow: (scrapePool: string, scrapeUrl: string, limit: number, signal: AbortSignal) =>
    post<ScrapePreview>('targets/scrape', { scrapePool, scrapeUrl, limit: String(limit) }, signal),
  relabelSteps: (scrapePool: string, labels: Labels, signal: AbortSignal) =>
    post<{ steps: RelabelStep[] }>(
      'targets/relabel_steps',
      { scrapePool, labels: JSON.stringify(labels) },
      signal,
    ),
  discoveries: (signal: AbortSignal) => get<Discoveries>('discoveries', signal),
  rules: (signal: AbortSignal) => get<Rules>('rules', signal),
  buildInfo: (signal: AbortSignal) => get<StringMap>('status/buildinfo', signal),
  runtimeInfo: (signal: AbortSignal) => get<RuntimeInfo>('status/runtimeinfo', signal),
  flags: (signal: AbortSignal) => get<StringMap>('status/flags', signal),
  config: (signal: AbortSignal) => get<{ yaml: string }>('status/config', signal),
  tsdb: (signal: AbortSignal) => get<TsdbStatus>('status/tsdb', signal),
};
