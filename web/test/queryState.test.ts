// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  DEFAULT_PANEL,
  PANELS_MAX,
  decodePanels,
  effectiveStep,
  encodePanels,
  queryHref,
  type PanelState,
} from '../src/lib/queryState';

describe('the address', () => {
  it('gives back what was put in', () => {
    const panels: PanelState[] = [
      { ...DEFAULT_PANEL, expr: 'a{b="c&d=e"} + 1 # 100%' },
      {
        expr: 'rate(x[5m])',
        tab: 'graph',
        momentMs: Date.UTC(2026, 0, 2, 3, 4, 5),
        endMs: Date.UTC(2026, 0, 2),
        rangeMs: 5400e3,
        stepMs: 15e3,
        density: 'medium',
        stacked: true,
        zeroBased: true,
      },
      { ...DEFAULT_PANEL, tab: 'graph', density: 'high' },
    ];
    expect(decodePanels(encodePanels(panels))).toEqual(panels);
  });

  it('reads the links of Prometheus 2 and 3', () => {
    const [old] = decodePanels(
      '?g0.expr=up&g0.tab=0&g0.stacked=1&g0.range_input=2h&g0.step_input=30&g0.end_input=2026-01-01%2000%3A00',
    );
    expect(old).toMatchObject({
      expr: 'up',
      tab: 'graph',
      stacked: true,
      rangeMs: 7200e3,
      stepMs: 30e3,
      endMs: Date.UTC(2026, 0, 1),
    });
    const [recent] = decodePanels(
      '?g0.expr=up&g0.show_tree=0&g0.tab=table&g0.res_type=auto&g0.res_density=low&g0.res_step=5',
    );
    expect(recent).toMatchObject({ tab: 'table', density: 'low', stepMs: null });
  });

  it('falls back on what makes no sense', () => {
    expect(decodePanels('')).toEqual([DEFAULT_PANEL]);
    expect(decodePanels('?g0.range_input=-1h&g0.tab=9&g0.end_input=x&g1e9.expr=y')).toEqual([
      DEFAULT_PANEL,
    ]);
  });

  it('orders panels by number and bounds them', () => {
    expect(decodePanels('?g7.expr=b&g2.expr=a').map((panel) => panel.expr)).toEqual(['a', 'b']);
    const many = Array.from({ length: PANELS_MAX + 1 }, (_, i) => `g${i}.expr=up`).join('&');
    expect(decodePanels(`?${many}`)).toHaveLength(PANELS_MAX);
  });

  it('links an expression', () => {
    const href = queryHref('up == 0 and "&"');
    expect(href).toMatch(/^query\?/);
    expect(decodePanels(href.slice('query'.length))[0]?.expr).toBe('up == 0 and "&"');
  });
});

it('derives the step from range and density, or takes the fixed one', () => {
  expect(effectiveStep(DEFAULT_PANEL)).toBe(14.4);
  expect(effectiveStep({ ...DEFAULT_PANEL, rangeMs: 60e3 })).toBe(1);
  expect(effectiveStep({ ...DEFAULT_PANEL, density: 'high' })).toBe(4.8);
  expect(effectiveStep({ ...DEFAULT_PANEL, stepMs: 500 })).toBe(0.5);
});
