// SPDX-License-Identifier: Apache-2.0
//
// What the console must do, seen from outside: each case gets a page of its own.
import assert from 'node:assert/strict';

const query = (fields) => `query?${new URLSearchParams(fields)}`;
const GRAPH = {
  'g0.expr': 'scrape_duration_seconds',
  'g0.tab': 'graph',
  'g0.range_input': '1m',
};

const editor = (page) => page.locator('.cm-content').first();
const table = (page) => page.getByRole('tabpanel', { name: 'Table' });

// `ready` is there once the page has its data.
const PAGES = [
  { name: 'query, empty', path: 'query', ready: 'text=To begin with' },
  {
    name: 'query, table',
    path: query({ 'g0.expr': 'up' }),
    ready: 'td:has-text("up{")',
  },
  { name: 'query, graph', path: query(GRAPH), ready: '.uplot canvas' },
  { name: 'targets', path: 'targets', ready: 'td:has-text("/metrics")' },
  { name: 'rules', path: 'rules', ready: 'td a code' },
  {
    name: 'alerts',
    path: 'alerts',
    ready: 'td a code, p:has-text("No alerts")',
  },
  { name: 'status', path: 'status', ready: 'pre:has-text("scrape_configs")' },
];

async function seriousFindings(page, axeScript) {
  await page.evaluate(axeScript);
  const findings = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document);
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id} at ${nodes.map((node) => node.target.join(' ')).join(', ')}`);
  });
  return findings;
}

function pageCase({ name, path, ready }, theme) {
  return {
    name: `page ${name}, ${theme}`,
    theme,
    async run({ page, problems, axeScript, open, screenshot }) {
      await open(path);
      await page.locator(ready).first().waitFor();
      await page.locator('[aria-busy="true"]').waitFor({ state: 'detached' });
      const scheme = await page.locator('html').getAttribute('data-mantine-color-scheme');
      assert.equal(scheme, theme, 'the colour scheme follows the system');
      await screenshot(`${name.replaceAll(', ', '-')}-${theme}`);
      assert.deepEqual(await seriousFindings(page, axeScript), [], 'axe-core');
      assert.deepEqual(problems, []);
    },
  };
}

function madeUpTarget(i) {
  const down = i % 50 === 0;
  const url = `http://10.0.0.${i}:9100/metrics`;
  return {
    discoveredLabels: {
      __address__: `10.0.0.${i}:9100`,
      __meta_kubernetes_pod_name: `p-${i}`,
    },
    labels: {
      instance: `10.0.0.${i}:9100`,
      job: `job-${i % 3}`,
      pod: `p-${i}`,
    },
    scrapePool: `pool-${i % 3}`,
    scrapeUrl: url,
    globalUrl: url,
    lastError: down ? 'connection refused' : '',
    lastScrape: new Date().toISOString(),
    lastScrapeDuration: 0.01,
    health: down ? 'down' : 'up',
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
    history: {
      scrapes: 10,
      failedScrapes: down ? 1 : 0,
      failures: [],
      droppedSamples: { outOfOrder: 0, outOfBounds: 0, duplicateTimestamp: 0, failedScrapes: 0 },
      lastScrape: {
        bodyBytes: 0,
        samples: 0,
        samplesAfterRelabelling: 0,
        seriesAdded: 0,
      },
      limits: { bodySize: null, samples: null, labels: null },
    },
  };
}

// What the server answers to `url` if it has `targets`, failing ones first.
function targetsPage(targets, url) {
  const params = new URL(url).searchParams;
  const found = targets.filter(({ labels }) => labels.pod.includes(params.get('search')));
  const count = (all) => ({
    up: all.filter(({ health }) => health === 'up').length,
    down: all.filter(({ health }) => health === 'down').length,
    unknown: 0,
  });
  const asked = found
    .filter(({ health }) => ['', health].includes(params.get('health')))
    .sort((a, b) => a.health.localeCompare(b.health));
  const offset = Number(params.get('offset'));
  return {
    activeTargets: asked.slice(offset, offset + Number(params.get('limit'))),
    activeTargetsTotal: asked.length,
    healthCounts: count(found),
    poolCounts: {},
    droppedTargetCounts: {},
  };
}

// Opens the history of the target of `job`, and returns it.
async function openHistory(page, job) {
  const card = page.getByRole('region', { name: job, exact: true });
  await card.getByRole('button', { expanded: false }).click();
  const history = card.locator('td[colspan]');
  await history.getByRole('heading', { name: 'Failures' }).waitFor();
  return history;
}

const rowOf = (history, what) => history.locator('tr').filter({ hasText: what });

// Pixels of the chart that carry colour: the axes and the grid are nearly grey.
function colouredPixels(page) {
  return page
    .locator('.uplot canvas')
    .first()
    .evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = data.subarray(i, i + 4);
        if (a > 128 && Math.max(r, g, b) - Math.min(r, g, b) > 70) {
          count += 1;
        }
      }
      return count;
    });
}

async function until(what, check, deadlineMs = 15_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    if (await check()) {
      return;
    }
    if (Date.now() > end) {
      throw new Error(`waited in vain: ${what}`);
    }
    // A check costs the page time, which it needs to get there.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Describes the focused element; "" when the page itself has the focus.
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    if (element === null || element === document.body) {
      return '';
    }
    const text = element.getAttribute('aria-label') ?? element.textContent ?? '';
    return `${element.tagName.toLowerCase()} ${text.trim()}`;
  });
}

// The `/` key, pressed until it takes the focus to `wanted`: a page may be seen before it listens.
async function pressSlash(page, wanted) {
  await until(`/ leads to ${wanted}`, async () => {
    if (!wanted.test(await focused(page))) {
      await page.keyboard.press('/');
    }
    return wanted.test(await focused(page));
  });
}

// Whether what has the focus looks different without it: itself, what surrounds it, its label.
function focusIsVisible(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const around = [element, element.nextElementSibling].filter(Boolean);
    for (let up = element.parentElement; up !== null && around.length < 7; up = up.parentElement) {
      around.push(up);
    }
    const looks = () =>
      around
        .map((one) => getComputedStyle(one))
        .map(({ outline, boxShadow, borderColor }) => `${outline} ${boxShadow} ${borderColor}`)
        .join();
    const withFocus = looks();
    element.blur();
    const without = looks();
    element.focus();
    return withFocus !== without;
  });
}

async function tabTo(page, wanted, limit = 60) {
  const seen = [];
  for (let i = 0; i < limit; i++) {
    await page.keyboard.press('Tab');
    const now = await focused(page);
    seen.push(now);
    if (wanted.test(now)) {
      assert.ok(await focusIsVisible(page), `focus cannot be seen on ${now}`);
      return;
    }
  }
  throw new Error(`Tab never came to ${wanted}; it went ${seen.join(' > ')}`);
}

// Follows Tab from the top of the page to its end; returns the controls that never got the focus,
// and those that did not show it.
async function unreachable(page) {
  const total = await page.evaluate(() => {
    const controls = [
      ...document.querySelectorAll(
        'a[href], button, input, select, textarea, summary, [tabindex="0"], [contenteditable="true"]',
      ),
    ].filter(
      (element) =>
        element.tabIndex >= 0 &&
        !element.disabled &&
        element.checkVisibility() &&
        // One button of a radio group takes the focus, the arrows move on from it.
        !(element.type === 'radio' && !element.checked) &&
        !(element.getAttribute('role') === 'tab' && element.ariaSelected !== 'true'),
    );
    controls.forEach((element) => element.setAttribute('data-unreached', ''));
    return controls.length;
  });
  const unseen = [];
  for (let i = 0; i < total + 5; i++) {
    await page.keyboard.press('Tab');
    const now = await focused(page);
    if (now !== '' && !(await focusIsVisible(page))) {
      unseen.push(`unseen: ${now}`);
    }
    await page.evaluate(() => document.activeElement?.removeAttribute('data-unreached'));
  }
  const missed = await page.evaluate(() =>
    [...document.querySelectorAll('[data-unreached]')].map(
      (element) => element.getAttribute('aria-label') ?? element.outerHTML.slice(0, 120),
    ),
  );
  return [...unseen, ...missed];
}

const behaviour = [
  {
    name: 'a query is typed, completed and run',
    async run({ page, problems, open, screenshot }) {
      await open('query');
      await editor(page).waitFor();
      await pressSlash(page, /PromQL expression/);
      await page.keyboard.type('scrape_dur');
      const option = page.locator('.cm-tooltip-autocomplete li', {
        hasText: 'scrape_duration_seconds',
      });
      await option.first().waitFor();
      await screenshot('completion');
      await until('the wanted metric is the selected completion', async () =>
        (await page.locator('.cm-tooltip-autocomplete li[aria-selected]').allTextContents())
          .join()
          .includes('scrape_duration_seconds'),
      );
      // By mouse: CodeMirror ignores keys while a list is new, and a Tab it ignores leaves the editor.
      await option.first().click();
      await until('the completion is taken', async () =>
        (await editor(page).innerText()).includes('scrape_duration_seconds'),
      );
      await page.keyboard.press('Enter');
      await table(page).locator('td', { hasText: 'scrape_duration_seconds{' }).first().waitFor();
      assert.match(page.url(), /g0\.expr=scrape_duration_seconds/);
      assert.match(await page.getByRole('status').first().innerText(), /series/);
      assert.deepEqual(problems, []);
    },
  },
  {
    name: 'Shift+Enter writes a line, Ctrl+Enter runs',
    async run({ page, open }) {
      await open('query');
      await editor(page).click();
      await page.keyboard.type('1 +');
      await page.keyboard.press('Shift+Enter');
      await page.keyboard.type('41');
      await page.keyboard.press('Control+Enter');
      await table(page).locator('td', { hasText: /^42$/ }).waitFor();
      assert.equal(new URL(page.url()).searchParams.get('g0.expr').replace(/\s+/g, ' '), '1 + 41');
    },
  },
  {
    name: 'the graph draws, and its legend hides and shows',
    async run({ page, problems, open, screenshot }) {
      await open(query(GRAPH));
      await page.locator('.uplot canvas').first().waitFor();
      await until('coloured lines in the chart', async () => (await colouredPixels(page)) > 200);
      const series = page.locator('table button[aria-pressed]');
      const count = await series.count();
      assert.ok(count >= 1, 'a series in the legend');
      await series.first().click({ modifiers: ['Control'] });
      assert.equal(await series.first().getAttribute('aria-pressed'), 'false');
      await series.first().click({ modifiers: ['Control'] });
      assert.equal(await series.first().getAttribute('aria-pressed'), 'true');
      if (count > 1) {
        await series.nth(1).click();
        assert.equal(await page.locator('table button[aria-pressed="true"]').count(), 1);
        await series.nth(1).click();
      }
      const box = await page.locator('.u-over').boundingBox();
      await until('a tooltip over a line', async () => {
        // Down the newest third of the chart, where there are samples.
        for (let y = 0; y <= box.height; y += 20) {
          await page.mouse.move(box.x + box.width - 12, box.y + y);
          if ((await page.getByText(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/).count()) > 0) {
            return true;
          }
        }
        return false;
      });
      await screenshot('graph-tooltip');
      assert.deepEqual(problems, []);
    },
  },
  {
    name: 'dragging over the graph zooms, the back button returns',
    async run({ page, open }) {
      await open(query(GRAPH));
      const box = await page.locator('.u-over').boundingBox();
      await page.mouse.move(box.x + box.width * 0.5, box.y + 60);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * 0.9, box.y + 60, { steps: 4 });
      await page.mouse.up();
      await page.waitForURL(/g0\.end_input=/);
      const range = page.getByLabel('Range, as 1h30m');
      assert.notEqual(await range.inputValue(), '1m');
      await page.goBack();
      await until('the old range', async () => (await range.inputValue()) === '1m');
    },
  },
  {
    name: 'a wrong query shows the parse error',
    async run({ page, open, screenshot }) {
      await open('query');
      await editor(page).click();
      await page.keyboard.insertText('sum(up');
      await page.keyboard.press('Control+Enter');
      const alert = page.getByRole('alert');
      await alert.waitFor();
      assert.match(await alert.innerText(), /parse error: unclosed left parenthesis/);
      await screenshot('parse-error');
    },
  },
  {
    name: 'a shared address restores its state',
    async run({ page, open }) {
      const shared = {
        'g0.expr': 'up + 0',
        'g0.tab': 'graph',
        'g0.range_input': '30m',
        'g0.end_input': '2026-01-02 03:04:05',
        'g0.res_type': 'custom',
        'g0.res_step': '20s',
        'g0.display_mode': 'stacked',
        'g1.expr': 'vector(7)',
        'g1.tab': 'table',
      };
      await open(query(shared));
      await editor(page).waitFor();
      assert.equal(await editor(page).innerText(), 'up + 0');
      const first = page.getByRole('region', { name: 'Query 1' });
      assert.equal(
        await first.getByRole('tab', { name: 'Graph' }).getAttribute('aria-selected'),
        'true',
      );
      assert.equal(await first.getByLabel('Range, as 1h30m').inputValue(), '30m');
      assert.equal(
        await first.getByLabel('End time, as 2026-01-31 12:00:00').inputValue(),
        '2026-01-02 03:04:05',
      );
      assert.equal(await first.getByLabel('Step, as 15s').inputValue(), '20s');
      assert.ok(await first.getByLabel('Stacked').isChecked());
      const second = page.getByRole('region', { name: 'Query 2' });
      await second.locator('td', { hasText: /^7$/ }).waitFor();

      // What is changed from there is in the address again.
      await second.getByRole('tab', { name: 'Graph' }).click();
      await page.waitForURL(/g1\.tab=graph/);
      const params = new URL(page.url()).searchParams;
      for (const [name, value] of Object.entries({
        ...shared,
        'g1.tab': 'graph',
      })) {
        assert.equal(params.get(name), value, name);
      }
    },
  },
  {
    name: 'the keyboard alone is enough',
    async run({ page, problems, open }) {
      await open('query');
      await editor(page).waitFor();
      await tabTo(page, /^a Skip to content/, 1);
      await page.keyboard.press('Enter');
      await tabTo(page, /PromQL expression/, 2);
      await page.keyboard.type('vector(3)');
      await page.keyboard.press('Escape');
      await tabTo(page, /^button Execute/, 3);
      await page.keyboard.press('Enter');
      await table(page).locator('td', { hasText: /^3$/ }).waitFor();
      await tabTo(page, /^button Table/);
      await page.keyboard.press('ArrowRight');
      await page.locator('.uplot canvas').first().waitFor();
      assert.match(page.url(), /g0\.tab=graph/);
      await tabTo(page, /^button Shorter range/);
      await page.keyboard.press('Enter');
      await page.waitForURL(/g0\.range_input=30m/);

      await open('query');
      await tabTo(page, /^a Targets/);
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Targets', level: 1 }).waitFor();
      assert.match(await page.title(), /^Targets/);
      await page.locator('summary').first().waitFor();
      await pressSlash(page, /Filter targets/);
      await tabTo(page, /^summary Discovered labels/);
      await page.keyboard.press('Enter');
      await page.locator('details[open]', { hasText: '__address__' }).waitFor();
      assert.deepEqual(problems, []);
    },
  },
  ...PAGES.map(({ name, path, ready }) => ({
    name: `Tab reaches every control of ${name}`,
    async run({ page, open }) {
      await open(path);
      await page.locator(ready).first().waitFor();
      assert.deepEqual(await unreachable(page), []);
    },
  })),
  {
    name: 'the colour scheme is chosen, and remembered',
    async run({ page, open }) {
      await open('query');
      const toggle = page.getByRole('button', { name: /Colour scheme/ });
      await toggle.click();
      await toggle.click();
      const scheme = () => page.locator('html').getAttribute('data-mantine-color-scheme');
      await until('the dark scheme', async () => (await scheme()) === 'dark');
      await page.reload();
      await page.getByRole('button', { name: /Colour scheme: dark/ }).waitFor();
      assert.equal(await scheme(), 'dark');
    },
  },
  {
    name: 'targets are filtered by state and text',
    async run({ page, open }) {
      await open('targets');
      const rows = page.locator('tbody tr');
      await rows.first().waitFor();
      const all = await rows.count();
      await page.getByLabel('Filter targets').fill('no such target anywhere');
      await page.getByText('No target matches the filters.').waitFor();
      await page.getByLabel('Filter targets').fill('');
      await until('all rows again', async () => (await rows.count()) === all);
      await page.getByText(/^Up \d+$/).click();
      await page.waitForURL(/health=up/);
      const states = () => page.locator('tbody tr td:nth-child(2)').allInnerTexts();
      const onlyUp = (texts) => texts.length > 0 && texts.every((text) => text === 'UP');
      await until('only targets that are up', async () => onlyUp(await states()));
      await page.reload();
      await rows.first().waitFor();
      assert.ok(onlyUp(await states()), 'the filter is in the address');
    },
  },
  {
    name: "a rule's expression opens as a query",
    async run({ page, open }) {
      await open('rules');
      const link = page.locator('td a:has(code)').first();
      const expression = await link.innerText();
      await link.click();
      await editor(page).waitFor();
      assert.equal(await editor(page).innerText(), expression);
    },
  },
  {
    name: 'the history brings a query back',
    async run({ page, open }) {
      await open('query');
      await page.getByRole('button', { name: 'scrape_duration_seconds' }).click();
      await table(page).locator('td', { hasText: 'scrape_duration_seconds{' }).first().waitFor();
      await editor(page).click();
      await page.keyboard.press('Control+a');
      await page.keyboard.insertText('vector(5)');
      await page.keyboard.press('Control+Enter');
      await table(page).locator('td', { hasText: /^5$/ }).waitFor();
      await page.getByRole('button', { name: 'Query history' }).click();
      await page.getByRole('menuitem', { name: 'scrape_duration_seconds' }).click();
      await table(page).locator('td', { hasText: 'scrape_duration_seconds{' }).first().waitFor();
    },
  },
  {
    name: 'markup in a label stays text',
    async run({ page, problems, open }) {
      const label = '<img src=x onerror=alert(1)>';
      await open(query({ 'g0.expr': `label_replace(up, "x", "${label}", "", "")` }));
      await table(page).locator('td', { hasText: label }).first().waitFor();
      assert.equal(await page.locator('main img').count(), 0);
      assert.deepEqual(problems, []);
    },
  },
  {
    name: 'a huge result is capped and stays responsive',
    async run({ page, open }) {
      const result = Array.from({ length: 50_000 }, (_, i) => ({
        metric: {
          __name__: 'huge',
          instance: `host-${i}`,
          job: 'many',
          zone: 'eu-west-1',
        },
        value: [1, String(i)],
      }));
      const body = JSON.stringify({
        status: 'success',
        data: { resultType: 'vector', result },
      });
      await page.route('**/api/v1/query', (route) =>
        route.fulfill({ contentType: 'application/json', body }),
      );
      await open(query({ 'g0.expr': 'huge' }));
      await page.getByText('longer than 10,000 rows').waitFor();
      const rows = table(page).locator('tbody tr');
      assert.ok((await rows.count()) <= 1000, 'rows are drawn as they are needed');
      const before = await rows.count();
      await rows.last().scrollIntoViewIfNeeded();
      await until('more rows after scrolling', async () => (await rows.count()) > before);
      const started = Date.now();
      await page.getByRole('button', { name: /^Value/ }).click();
      await rows.filter({ hasText: 'host-9999"' }).first().waitFor();
      assert.ok(Date.now() - started < 5000, 'sorting answers within five seconds');
    },
  },
  {
    name: 'a slow query can be cancelled',
    async run({ page, open }) {
      let answer;
      await page.route('**/api/v1/query', (route) => {
        answer = () => route.abort();
      });
      await open(query({ 'g0.expr': 'up' }));
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByRole('button', { name: 'Cancel' }).waitFor({ state: 'detached' });
      assert.equal(await page.getByRole('alert').count(), 0);
      answer();
    },
  },
  {
    name: 'warnings and notes of an answer are shown',
    async run({ page, open }) {
      const body = JSON.stringify({
        status: 'success',
        data: {
          resultType: 'vector',
          result: [{ metric: { a: 'b' }, value: [1, '1'] }],
        },
        warnings: ['PromQL warning: something is off'],
        infos: ['PromQL info: metric might not be a counter'],
      });
      await page.route('**/api/v1/query', (route) =>
        route.fulfill({ contentType: 'application/json', body }),
      );
      await open(query({ 'g0.expr': 'rate(a[5m])' }));
      await page.getByText('something is off').waitFor();
      await page.getByText('might not be a counter').waitFor();
      await table(page).locator('td', { hasText: '{a="b"}' }).waitFor();
    },
  },
  {
    name: 'native histograms are shown as text',
    async run({ page, open }) {
      const histogram = {
        count: '3',
        sum: '4.5',
        buckets: [[0, '1', '2', '3']],
      };
      await page.route('**/api/v1/query*', (route) => {
        const range = route.request().url().endsWith('query_range');
        const metric = { __name__: 'latency' };
        const data = range
          ? {
              resultType: 'matrix',
              result: [{ metric, histograms: [[1, histogram]] }],
            }
          : {
              resultType: 'vector',
              result: [{ metric, histogram: [1, histogram] }],
            };
        return route.fulfill({
          contentType: 'application/json',
          body: JSON.stringify({ status: 'success', data }),
        });
      });
      await open(query({ 'g0.expr': 'latency' }));
      await table(page).locator('td', { hasText: 'count:3 sum:4.5' }).waitFor();
      await table(page).locator('td', { hasText: '(1, 2]: 3' }).waitFor();
      await page.getByRole('tab', { name: 'Graph' }).click();
      await page.getByText('1 series hold native histograms').waitFor();
    },
  },
  {
    name: 'service discovery that fails is told, and no more once it works',
    async run({ page, open }) {
      const discovery = {
        scrapePool: 'web',
        mechanism: 'dns',
        source: 'web.example',
        stale: true,
        lastError: 'could not resolve',
        lastSuccess: new Date(0).toISOString(),
        failingSince: new Date(Date.now() - 90_000).toISOString(),
      };
      const answer = (stale) => (route) =>
        route.fulfill({
          contentType: 'application/json',
          body: JSON.stringify({
            status: 'success',
            data: {
              discoveries: [
                { ...discovery, stale },
                { ...discovery, stale: false },
              ],
            },
          }),
        });
      await page.route('**/api/v1/discoveries', answer(true));
      await open('targets');
      const notice = page.getByRole('status').filter({ hasText: 'Service discovery of web fails' });
      await notice.waitFor();
      assert.match(await notice.innerText(), /1m ?3\ds ago.*web\.example: could not resolve/s);
      assert.equal(await notice.count(), 1);
      await page.unroute('**/api/v1/discoveries');
      await page.route('**/api/v1/discoveries', answer(false));
      await page.getByRole('button', { name: 'Refresh' }).click();
      await until('no notice', async () => (await notice.count()) === 0);
    },
  },
  {
    name: "a target's failures, dropped samples and limits are shown",
    async run({ page, problems, axeScript, open, screenshot }) {
      await open('targets');
      const limited = await openHistory(page, 'limited');
      const failures = rowOf(limited, 'sample limit exceeded');
      const day = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d';
      assert.match(await failures.innerText(), new RegExp(`^${day}\\s+${day}\\s+\\d+\\s`));
      await limited.getByText(/^(\d+) of \1 scrapes failed$/).waitFor();
      assert.match(await rowOf(limited, 'their scrape failed').innerText(), /^[\d,]+\s/);
      assert.match(await rowOf(limited, 'Samples after').innerText(), /[\d,]+\s+10\s+over$/);
      assert.match(await rowOf(limited, 'Labels of a sample').innerText(), /\s30\s*$/);

      const closed = await openHistory(page, 'closed');
      await rowOf(closed, 'connection refused').waitFor();
      await closed.getByText('No sample was dropped.').waitFor();

      const node = await openHistory(page, 'node');
      await node.getByText('No scrape has failed since the target was found.').waitFor();
      await rowOf(node, 'metric relabelling drops them').waitFor();
      assert.match(await rowOf(node, 'Samples after').innerText(), /[\d,]+\s+none\s*$/);
      assert.match(await rowOf(node, 'Body').innerText(), /KiB\s+none\s*$/);
      await node.getByRole('button', { name: 'Show the steps' }).click();
      const step = rowOf(node, 'action: replace, source_labels: [env], regex: prod');
      await step.getByText('env="test"').waitFor();
      await closed.getByRole('button', { name: 'Show the steps' }).click();
      await closed.getByText('The job has no relabelling rules.').waitFor();
      await screenshot('targets-history');
      assert.deepEqual(await seriousFindings(page, axeScript), [], 'axe-core');

      // It stays open while the page is loaded anew.
      await page.getByRole('button', { name: 'Refresh' }).click();
      await page.locator('[aria-busy="true"]').waitFor({ state: 'detached' });
      assert.ok(await node.isVisible());
      assert.deepEqual(problems, []);
    },
  },
  {
    name: 'dropped targets are listed with the rule that drops them',
    async run({ page, problems, axeScript, open, screenshot }) {
      await open('targets');
      const pool = page.getByRole('region', { name: 'Dropped of elsewhere' });
      await pool.getByText('elsewhere: 2 dropped by relabelling').waitFor();
      await pool.getByRole('button', { name: 'Show them' }).click();
      await pool.getByText('__address__="10.0.0.1:9100"').waitFor();
      await pool.getByText('__address__="10.0.0.2:9100"').waitFor();
      await pool.getByRole('button', { name: 'Show the steps' }).first().click();
      const steps = pool.locator('tbody tr');
      await until('the steps', async () => (await steps.count()) === 2);
      assert.match(await steps.nth(0).innerText(), /target_label: seen.*seen="yes"/s);
      assert.match(await steps.nth(1).innerText(), /action: keep.*The target is dropped\.$/s);
      await screenshot('targets-dropped');
      assert.deepEqual(await seriousFindings(page, axeScript), [], 'axe-core');
      assert.deepEqual(problems, []);
    },
  },
  {
    name: 'a target is scraped on demand',
    async run({ page, problems, axeScript, open, screenshot }) {
      await open('targets');
      const node = await openHistory(page, 'node');
      await node.getByRole('button', { name: 'Scrape now' }).click();
      const samples = node.getByRole('region', { name: 'Scraped samples' });
      await samples.waitFor();
      await node
        .getByText(/^[\d,]+ samples, [\d,]+ after relabelling, [\d.]+ KiB, in .*text/)
        .waitFor();
      await node.getByLabel('Filter samples').fill('node_load1{ node');
      await until('one sample', async () => (await samples.locator('tr').count()) === 1);
      assert.match(
        await samples.innerText(),
        /^node_load1\{env="test", instance="127\.0\.0\.1:\d+", job="node"\}\s+[\d.]+$/,
      );
      await node.getByRole('button', { name: 'Scrape again' }).click();
      await samples.waitFor();
      await screenshot('targets-scrape-now');

      const limited = await openHistory(page, 'limited');
      await limited.getByRole('button', { name: 'Scrape now' }).click();
      await limited.getByRole('alert').filter({ hasText: 'sample limit exceeded' }).waitFor();
      const closed = await openHistory(page, 'closed');
      await closed.getByRole('button', { name: 'Scrape now' }).click();
      await closed.getByRole('alert').filter({ hasText: 'connection refused' }).waitFor();
      assert.deepEqual(await seriousFindings(page, axeScript), [], 'axe-core');
      assert.deepEqual(problems, []);
    },
  },
  {
    name: 'a server that is away is named, and found again',
    async run({ page, open }) {
      await page.route('**/api/v1/targets*', (route) => route.abort());
      await open('targets');
      await page.getByRole('alert').filter({ hasText: 'cannot be reached' }).waitFor();
      await page.unroute('**/api/v1/targets*');
      await page.getByRole('button', { name: 'Refresh' }).click();
      await page.locator('tbody tr').first().waitFor();
      assert.equal(await page.getByRole('alert').count(), 0);
    },
  },
  {
    name: 'the configuration is copied',
    async run({ page, open }) {
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await open('status');
      const shown = await page.locator('pre').innerText();
      await page.getByRole('button', { name: 'Copy YAML' }).click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      const copied = await page.evaluate(() => navigator.clipboard.readText());
      assert.equal(copied.trim(), shown.trim());
    },
  },
  {
    name: "addresses of Prometheus' other pages lead somewhere",
    async run({ page, open }) {
      for (const [path, title] of [
        ['', 'Query'],
        ['config', 'Status'],
        ['flags', 'Status'],
        ['tsdb-status', 'Status'],
        ['service-discovery', 'Targets'],
        ['graph?g0.expr=up&g0.tab=1', 'Query'],
      ]) {
        await open(path);
        await page.locator('h1', { hasText: title }).waitFor();
      }
      await table(page).locator('td', { hasText: 'up{' }).first().waitFor();
    },
  },
  {
    name: 'thousands of targets and rules stay responsive',
    async run({ page, open }) {
      const targets = Array.from({ length: 6000 }, (_, i) => madeUpTarget(i));
      const rules = Array.from({ length: 3000 }, (_, i) => ({
        type: 'recording',
        name: `rule:${i}`,
        query: `sum by (job) (rate(metric_${i}[5m]))`,
        health: 'ok',
        evaluationTime: 0.001,
        lastEvaluation: new Date().toISOString(),
      }));
      const group = {
        name: 'g',
        file: 'f',
        rules,
        interval: 15,
        evaluationTime: 1,
      };
      const answer = (data) => (route) =>
        route.fulfill({
          contentType: 'application/json',
          body: JSON.stringify({ status: 'success', data }),
        });
      await page.route('**/api/v1/targets*', (route) =>
        answer(targetsPage(targets, route.request().url()))(route),
      );
      await page.route('**/api/v1/rules*', answer({ groups: [{ ...group, lastEvaluation: '' }] }));
      await open('targets');
      await page.getByText('All 6,000').waitFor();
      const rows = page.locator('tbody tr');
      assert.equal(await rows.count(), 100);
      assert.equal(await rows.first().getByText('DOWN').count(), 1);
      const pager = page.getByRole('navigation', { name: 'Parts of the list' }).first();
      await pager.getByText('1–100 of 6,000').waitFor();
      assert.ok(await pager.getByRole('button', { name: 'Previous' }).isDisabled());
      await pager.getByRole('button', { name: 'Next' }).click();
      await pager.getByText('101–200 of 6,000').waitFor();
      await page.waitForURL(/from=100/);
      await page.getByText(/^Down \d+$/).click();
      await pager.getByText('1–100 of 120').waitFor();
      await pager.getByRole('button', { name: 'Next' }).click();
      await pager.getByText('101–120 of 120').waitFor();
      assert.ok(await pager.getByRole('button', { name: 'Next' }).isDisabled());
      await until('the last page', async () => (await rows.count()) === 20);
      await page.getByText(/^All /).click();
      await pressSlash(page, /Filter targets/);
      await page.keyboard.type('p-5998');
      await until('one target left', async () => (await rows.count()) === 1);
      await open('rules');
      await page.locator('tbody tr').first().waitFor();
      await pressSlash(page, /Filter rules/);
      await page.keyboard.type('metric_2999');
      await until('one rule left', async () => (await page.locator('tbody tr').count()) === 1);
    },
  },
  {
    name: 'a page that is not there says so',
    async run({ page, open }) {
      await open('query');
      await page.evaluate(() => history.pushState(null, '', 'nothing-here'));
      await page.evaluate(() => window.dispatchEvent(new PopStateEvent('popstate')));
      await page.getByRole('heading', { name: 'Not found' }).waitFor();
    },
  },
];

export const cases = [
  ...PAGES.flatMap((page) => ['light', 'dark'].map((theme) => pageCase(page, theme))),
  ...behaviour,
];
