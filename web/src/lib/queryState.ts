// SPDX-License-Identifier: Apache-2.0
//
// The query page's state, kept in the address under Prometheus' names (g0.expr, g0.tab, ...), so
// that links made for its console open here. Times in the address are UTC.
import { formatDuration, formatTime, parseDuration, parseTime } from './time';

export type Tab = 'table' | 'graph';
export type Density = 'low' | 'medium' | 'high';

export interface PanelState {
  expr: string;
  tab: Tab;
  // Moment of the table, end of the graph: ms, null for now.
  momentMs: number | null;
  endMs: number | null;
  rangeMs: number;
  // A fixed step in ms, or how finely to divide the range.
  stepMs: number | null;
  density: Density;
  stacked: boolean;
  zeroBased: boolean;
}

export const PANELS_MAX = 20;

export const DEFAULT_PANEL: PanelState = {
  expr: '',
  tab: 'table',
  momentMs: null,
  endMs: null,
  rangeMs: 3600e3,
  stepMs: null,
  density: 'medium',
  stacked: false,
  zeroBased: false,
};

const POINTS: Record<Density, number> = { low: 100, medium: 250, high: 750 };

// Step of a graph in seconds; never below a second unless the user asked for it.
export function effectiveStep(panel: PanelState): number {
  if (panel.stepMs !== null) {
    return panel.stepMs / 1000;
  }
  return Math.max(Math.floor(panel.rangeMs / POINTS[panel.density]) / 1000, 1);
}

function decodePanel(fields: ReadonlyMap<string, string>): PanelState {
  const duration = (name: string) => parseDuration(fields.get(name) ?? '') || null;
  const time = (name: string) => parseTime(fields.get(name) ?? '', true);
  const tab = fields.get('tab');
  const density = fields.get('res_density');
  const fixed = fields.get('res_type') !== 'auto';
  return {
    expr: fields.get('expr') ?? '',
    // Prometheus 2 wrote 0 for its graph, 1 for its table.
    tab: tab === 'graph' || tab === '0' ? 'graph' : 'table',
    momentMs: time('moment_input'),
    endMs: time('end_input'),
    rangeMs: duration('range_input') ?? DEFAULT_PANEL.rangeMs,
    stepMs: fixed ? (duration('res_step') ?? duration('step_input')) : null,
    density: density === 'low' || density === 'high' ? density : 'medium',
    stacked: fields.get('display_mode') === 'stacked' || fields.get('stacked') === '1',
    zeroBased: fields.get('y_axis_min') === '0',
  };
}

export function decodePanels(search: string): PanelState[] {
  const panels = new Map<number, Map<string, string>>();
  for (const [key, value] of new URLSearchParams(search)) {
    const match = /^g(\d{1,3})\.(\w+)$/.exec(key);
    if (match?.[1] !== undefined && match[2] !== undefined) {
      const index = Number(match[1]);
      const fields = panels.get(index) ?? new Map<string, string>();
      panels.set(index, fields.set(match[2], value));
    }
  }
  const ordered = [...panels.entries()].sort(([a], [b]) => a - b).slice(0, PANELS_MAX);
  return ordered.length === 0 ? [DEFAULT_PANEL] : ordered.map(([, fields]) => decodePanel(fields));
}

export function encodePanels(panels: readonly PanelState[]): string {
  const params = new URLSearchParams();
  panels.forEach((panel, i) => {
    const set = (name: string, value: string) => params.set(`g${i}.${name}`, value);
    set('expr', panel.expr);
    set('tab', panel.tab);
    if (panel.momentMs !== null) {
      set('moment_input', formatTime(panel.momentMs, true));
    }
    if (panel.endMs !== null) {
      set('end_input', formatTime(panel.endMs, true));
    }
    set('range_input', formatDuration(panel.rangeMs));
    if (panel.stepMs !== null) {
      set('res_type', 'custom');
      set('res_step', formatDuration(panel.stepMs));
    } else {
      set('res_type', 'auto');
      set('res_density', panel.density);
    }
    if (panel.stacked) {
      set('display_mode', 'stacked');
    }
    if (panel.zeroBased) {
      set('y_axis_min', '0');
    }
  });
  return `?${params.toString()}`;
}

// Address of the query page showing `expr`, relative to the page it stands on.
export function queryHref(expr: string, tab: Tab = 'table'): string {
  return `query${encodePanels([{ ...DEFAULT_PANEL, expr, tab }])}`;
}
