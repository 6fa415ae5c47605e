// SPDX-License-Identifier: Apache-2.0
//
// Runs the console in a real browser against a running server that has `up` series, targets and
// rules:
//
//   node tests/browser/run.mjs --url http://127.0.0.1:9090 [--screenshots DIR] [--only TEXT]
//
// Prints "ok NAME" or "FAIL NAME: why" for each case, "N passed, M failed" last, and exits with 1
// if anything failed. The browser is $CHROMIUM or Debian's; playwright-core and axe-core come from
// web/node_modules.
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { cases } from './cases.mjs';

const WAIT_MS = 60_000;
const CASE_MS = 240_000;

const { values: args } = parseArgs({
  options: {
    url: { type: 'string' },
    screenshots: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
if (!args.url) {
  console.error('usage: node tests/browser/run.mjs --url URL [--screenshots DIR] [--only TEXT]');
  process.exit(2);
}
if (args.screenshots) {
  mkdirSync(args.screenshots, { recursive: true });
}

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const axeScript = require('axe-core').source;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
  ],
});

// A page of a fresh profile. What goes wrong in it, and what it asks of other hosts, is collected.
async function openPage(theme) {
  const context = await browser.newContext({
    viewport: { width: 1360, height: 900 },
    colorScheme: theme,
    reducedMotion: 'reduce',
    timezoneId: 'UTC',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const problems = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      problems.push(`console ${message.type()}: ${message.text()}`);
    }
  });
  page.on('pageerror', (error) => problems.push(`exception: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(args.url) && !/^(data|blob):/.test(request.url())) {
      problems.push(`request to elsewhere: ${request.url()}`);
    }
  });
  return { context, page, problems };
}

function withDeadline(promise, ms) {
  let timer;
  const expiry = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms);
  });
  return Promise.race([promise, expiry]).finally(() => clearTimeout(timer));
}

async function runCase({ name, theme = 'light', run }) {
  const { context, page, problems } = await openPage(theme);
  const tools = {
    page,
    problems,
    axeScript,
    // The page is there, with its keys bound, once its heading is.
    open: async (path) => {
      await page.goto(`${args.url}/${path}`);
      await page.locator('h1').waitFor({ state: 'attached' });
    },
    screenshot: async (file) => {
      if (args.screenshots) {
        await page.screenshot({ path: `${args.screenshots}/${file}.png` });
      }
    },
  };
  try {
    await withDeadline(run(tools), CASE_MS);
    return null;
  } catch (error) {
    await tools.screenshot(`FAIL ${name.replaceAll('/', '-')}`).catch(() => undefined);
    return error;
  } finally {
    await context.close();
  }
}

// Without line ends and terminal colours.
function oneLine(text) {
  return stripVTControlCharacters(text).replace(/\s+/g, ' ').trim();
}

let passed = 0;
let failed = 0;
for (const one of cases.filter(({ name }) => name.includes(args.only))) {
  const error = await runCase(one);
  if (error === null) {
    passed += 1;
    console.log(`ok ${one.name}`);
  } else {
    failed += 1;
    console.log(`FAIL ${one.name}: ${oneLine(error.message)}`);
  }
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
