// SPDX-License-Identifier: Apache-2.0
//
// One expression with its result as table or graph.
import { ActionIcon, Button, Loader, Tabs, Tooltip } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { ApiError } from '../../api/client';
import { CloseIcon, GraphIcon, TableIcon } from '../../components/icons';
import { Notice } from '../../components/Notice';
import { useSlashKey } from '../../components/useSlashKey';
import { plural } from '../../lib/format';
import type { PanelState, Tab } from '../../lib/queryState';
import { formatElapsed } from '../../lib/time';
import { GraphControls } from './GraphControls';
import { HistoryMenu } from './HistoryMenu';
import { PromQLEditor, type EditorHandle } from './PromQLEditor';
import { ResultGraph } from './ResultGraph';
import { ResultTable } from './ResultTable';
import { TimeField } from './TimeField';
import { useQuery, type QueryResult } from './useQuery';
import classes from './query.module.css';

const MOMENT_STEP_MS = 10 * 60e3;
const EXAMPLES = [
  'up',
  'count by (job) (up)',
  'scrape_duration_seconds',
  'topk(10, count by (__name__) ({job!=""}))',
];

interface QueryPanelProps {
  panel: PanelState;
  // 1 for the first; named when there are several.
  number: number;
  onChange: (change: Partial<PanelState>, how: 'push' | 'replace') => void;
  onRemove: (() => void) | null;
  history: readonly string[];
  onExecuted: (expr: string) => void;
  onClearHistory: () => void;
}

function countSeries({ data }: QueryResult): number {
  return data.resultType === 'vector' || data.resultType === 'matrix' ? data.result.length : 1;
}

function Stats({ result }: { result: QueryResult }) {
  const samples = result.data.stats?.samples?.totalQueryableSamples;
  return (
    <span className={classes.stats} role="status">
      <span>{plural(countSeries(result), 'series', 'series')}</span>
      {samples !== undefined && <span>{plural(samples, 'sample')} read</span>}
      <span>{formatElapsed(result.elapsedMs)}</span>
    </span>
  );
}

const ERROR_TITLES: Record<string, string> = {
  bad_data: 'Bad query',
  execution: 'Query failed',
  timeout: 'Query timed out',
  canceled: 'Query was cancelled',
  network: 'No answer',
};

function Messages({ error, result }: { error: Error | null; result: QueryResult | null }) {
  const type = error instanceof ApiError ? error.type : '';
  return (
    <>
      {error !== null && (
        <Notice kind="error" title={ERROR_TITLES[type] ?? 'Query failed'}>
          {error.message}
        </Notice>
      )}
      {result?.warnings.map((text) => (
        <Notice key={text} kind="warning" title="Warning">
          {text}
        </Notice>
      ))}
      {result?.infos.map((text) => (
        <Notice key={text} kind="info" title="Note">
          {text}
        </Notice>
      ))}
    </>
  );
}

function Examples({ onPick }: { onPick: (expr: string) => void }) {
  return (
    <div className={classes.welcome}>
      <p>
        Write a PromQL expression and press <kbd>Enter</kbd>. <kbd>Shift</kbd>+<kbd>Enter</kbd>{' '}
        starts a new line, <kbd>/</kbd> comes back to the editor. To begin with:
      </p>
      <div className={classes.examples}>
        {EXAMPLES.map((expr) => (
          <button key={expr} type="button" className={classes.example} onClick={() => onPick(expr)}>
            {expr}
          </button>
        ))}
      </div>
    </div>
  );
}

export function QueryPanel(props: QueryPanelProps) {
  const { panel, number, onChange, onRemove, history, onExecuted, onClearHistory } = props;
  const [draft, setDraft] = useState(panel.expr);
  const [round, setRound] = useState(0);
  const editor = useRef<EditorHandle>(null);
  const { answer: result, error, loading, cancel } = useQuery(panel, round);
  useEffect(() => setDraft(panel.expr), [panel.expr]);
  useSlashKey(() => number === 1 && editor.current?.focus());

  const execute = (expr: string) => {
    if (expr.trim() === '') {
      return;
    }
    onExecuted(expr);
    setRound((n) => n + 1);
    if (expr !== panel.expr) {
      onChange({ expr }, 'push');
    }
  };
  const current = result !== null && result.tab === panel.tab ? result : null;
  return (
    <section className={classes.panel} aria-label={`Query ${number}`}>
      <div className={classes.editorRow}>
        <div className={classes.editor}>
          <PromQLEditor
            handle={editor}
            label={number === 1 ? 'PromQL expression' : `PromQL expression ${number}`}
            value={draft}
            onChange={setDraft}
            onExecute={() => execute(draft)}
          />
        </div>
        <Button size="sm" h={38} onClick={() => execute(draft)} aria-keyshortcuts="Control+Enter">
          Execute
        </Button>
        <HistoryMenu
          history={history}
          onPick={(expr) => {
            setDraft(expr);
            execute(expr);
          }}
          onClear={onClearHistory}
        />
        {onRemove !== null && (
          <Tooltip label="Remove this query">
            <ActionIcon
              variant="default"
              size={38}
              aria-label={`Remove query ${number}`}
              onClick={onRemove}
            >
              <CloseIcon />
            </ActionIcon>
          </Tooltip>
        )}
      </div>

      <Tabs
        color="var(--v-accent)"
        value={panel.tab}
        onChange={(tab) => onChange({ tab: tab as Tab }, 'replace')}
        keepMounted={false}
      >
        <div className={classes.tabsRow}>
          <Tabs.List>
            <Tabs.Tab value="table" leftSection={<TableIcon />}>
              Table
            </Tabs.Tab>
            <Tabs.Tab value="graph" leftSection={<GraphIcon />}>
              Graph
            </Tabs.Tab>
          </Tabs.List>
          <div className={classes.state}>
            {loading && (
              <span className={classes.running}>
                <Loader size={16} color="var(--v-accent)" aria-label="Running" />
                <Button size="xs" variant="default" onClick={cancel}>
                  Cancel
                </Button>
              </span>
            )}
            {current !== null && <Stats result={current} />}
          </div>
        </div>

        {(['table', 'graph'] as const).map((tab) => (
          <Tabs.Panel key={tab} value={tab}>
            <div className={classes.controls}>
              {tab === 'table' ? (
                <TimeField
                  label="Evaluation time"
                  valueMs={panel.momentMs}
                  stepMs={MOMENT_STEP_MS}
                  onChange={(ms) => onChange({ momentMs: ms }, 'replace')}
                />
              ) : (
                <GraphControls panel={panel} onChange={(change) => onChange(change, 'replace')} />
              )}
            </div>
            <div className={classes.notices}>
              <Messages error={error} result={current} />
            </div>
            <div className={classes.result} aria-busy={loading} data-stale={loading || undefined}>
              {panel.expr.trim() === '' && (
                <Examples
                  onPick={(expr) => {
                    setDraft(expr);
                    execute(expr);
                  }}
                />
              )}
              {current !== null && tab === 'table' && <ResultTable data={current.data} />}
              {current !== null && tab === 'graph' && (
                <ResultGraph
                  data={current.data}
                  range={current.range}
                  stacked={panel.stacked}
                  zeroBased={panel.zeroBased}
                  onZoom={(startMs, endMs) =>
                    onChange(
                      {
                        endMs: Math.round(endMs / 1000) * 1000,
                        rangeMs: Math.max(1000, Math.round((endMs - startMs) / 1000) * 1000),
                      },
                      'push',
                    )
                  }
                />
              )}
            </div>
          </Tabs.Panel>
        ))}
      </Tabs>
    </section>
  );
}
