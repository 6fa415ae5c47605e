// SPDX-License-Identifier: Apache-2.0
//
// What the HTTP API answers, as far as the console reads it.

export type Labels = Readonly<Record<string, string>>;

// [boundary rule, lower, upper, count]
export type HistogramBucket = [number, string, string, string];
export interface Histogram {
  count: string;
  sum: string;
  buckets?: HistogramBucket[];
}

export type SamplePair = [number, string];
export type HistogramPair = [number, Histogram];

export interface VectorItem {
  metric: Labels;
  value?: SamplePair;
  histogram?: HistogramPair;
}

export interface MatrixItem {
  metric: Labels;
  values?: SamplePair[];
  histograms?: HistogramPair[];
}

export interface QueryStats {
  timings?: Record<string, number>;
  samples?: { totalQueryableSamples?: number; peakSamples?: number };
}

export type QueryData = (
  | { resultType: 'vector'; result: VectorItem[] }
  | { resultType: 'matrix'; result: MatrixItem[] }
  | { resultType: 'scalar'; result: SamplePair }
  | { resultType: 'string'; result: SamplePair }
) & { stats?: QueryStats };

export type TargetHealth = 'up' | 'down' | 'unknown';

export interface Target {
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: TargetHealth;
  scrapeInterval: string;
  scrapeTimeout: string;
  history: ScrapeHistory;
}

// Scrapes in a row that failed with the same error.
export interface ScrapeFailures {
  first: string;
  last: string;
  count: number;
  error: string;
}

export type DropReason =
  'relabelling' | 'outOfOrder' | 'duplicateTimestamp' | 'outOfBounds' | 'failedScrapes';

// How a target's scrapes went since it was found. A limit that is null is none.
export interface ScrapeHistory {
  scrapes: number;
  failedScrapes: number;
  failures: ScrapeFailures[];
  droppedSamples: Record<DropReason, number>;
  // bodyBytes is -1 if the body was larger than its limit.
  lastScrape: {
    bodyBytes: number;
    samples: number;
    samplesAfterRelabelling: number;
    seriesAdded: number;
  };
  limits: {
    bodySize: number | null;
    samples: number | null;
    labels: number | null;
    labelNameLength: number | null;
    labelValueLength: number | null;
  };
}

// What a scrape would store now; `error` is empty if it would succeed.
export interface ScrapePreview {
  error: string;
  duration: number;
  bodyBytes: number;
  contentType: string;
  samplesScraped: number;
  samplesAfterRelabelling: number;
  duplicateSamples: number;
  truncated: boolean;
  samples: VectorItem[];
}

// Where targets come from; a stale one fails, and its targets are those it found before.
export interface DiscoveryState {
  scrapePool: string;
  mechanism: string;
  source: string;
  stale: boolean;
  lastError: string;
  lastSuccess: string;
  failingSince: string;
}

export interface Discoveries {
  discoveries: DiscoveryState[];
}

export interface RelabelRule {
  action: string;
  sourceLabels?: string[];
  separator?: string;
  regex?: string;
  modulus?: number;
  targetLabel?: string;
  replacement?: string;
}

// What a rule made of the labels; nothing is left of those it, or one before it, drops.
export interface RelabelStep {
  rule: RelabelRule;
  output: Labels;
  keep: boolean;
}

export type HealthCounts = Record<TargetHealth, number>;

// What is known of a target that relabelling drops.
export interface DroppedTarget {
  discoveredLabels: Labels;
  scrapePool: string;
}

// A page of targets: healthCounts are of those the search finds, poolCounts of all.
export interface Targets {
  activeTargets: Target[];
  activeTargetsTotal: number;
  healthCounts: HealthCounts;
  poolCounts: Record<string, HealthCounts>;
  droppedTargetCounts: Record<string, number>;
}

export type RuleHealth = 'ok' | 'err' | 'unknown';
export type AlertState = 'firing' | 'pending' | 'inactive';

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: AlertState;
  activeAt?: string;
  value: string;
}

interface RuleBase {
  name: string;
  query: string;
  labels?: Labels;
  health: RuleHealth;
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
}

export interface AlertingRule extends RuleBase {
  type: 'alerting';
  state: AlertState;
  duration: number;
  keepFiringFor?: number;
  annotations?: Labels;
  alerts?: Alert[];
}

export interface RecordingRule extends RuleBase {
  type: 'recording';
}

export type Rule = AlertingRule | RecordingRule;

export interface RuleGroup {
  name: string;
  file: string;
  rules: Rule[];
  interval: number;
  evaluationTime: number;
  lastEvaluation: string;
}

export interface Rules {
  groups: RuleGroup[];
}

export interface NameValue {
  name: string;
  value: number;
}

export interface TsdbStatus {
  headStats: {
    numSeries: number;
    numLabelPairs?: number;
    chunkCount: number;
    minTime: number;
    maxTime: number;
  };
  seriesCountByMetricName?: NameValue[] | null;
  labelValueCountByLabelName?: NameValue[] | null;
  memoryInBytesByLabelName?: NameValue[] | null;
  seriesCountByLabelValuePair?: NameValue[] | null;
}

export type StringMap = Record<string, string>;
export type RuntimeInfo = Record<string, string | number | boolean>;
