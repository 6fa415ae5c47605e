// SPDX-License-Identifier: Apache-2.0
//
// Providers and the table of pages. The query page, with its editor and graph, loads on demand.
import { MantineProvider } from '@mantine/core';
import { lazy, Suspense, useEffect, type ReactNode } from 'react';
import { ErrorBoundary } from '../components/ErrorBoundary';
import { Link } from '../components/Link';
import { Loading } from '../components/Loading';
import { RulesPage } from '../pages/rules/RulesPage';
import { StatusPage } from '../pages/status/StatusPage';
import { TargetsPage } from '../pages/targets/TargetsPage';
import { navigate, usePage } from './router';
import { SettingsProvider } from './settings';
import { Shell } from './Shell';
import { theme } from './theme';

const QueryPage = lazy(() => import('../pages/query/QueryPage'));

const PAGES: Record<string, { title: string; element: ReactNode }> = {
  query: { title: 'Query', element: <QueryPage /> },
  targets: { title: 'Targets', element: <TargetsPage /> },
  rules: { title: 'Rules', element: <RulesPage key="rules" only="all" /> },
  alerts: { title: 'Alerts', element: <RulesPage key="alerts" only="alerting" /> },
  status: { title: 'Status', element: <StatusPage /> },
};

// Pages of Prometheus' console whose content is part of another page here.
const MOVED: Record<string, string> = {
  '': 'query',
  graph: 'query',
  config: 'status',
  flags: 'status',
  'tsdb-status': 'status',
  'service-discovery': 'targets',
};

function NotFound() {
  return (
    <>
      <h1>Not found</h1>
      <p>
        There is no page here. Go to the <Link href="query">query page</Link>.
      </p>
    </>
  );
}

function Page() {
  const page = usePage();
  const moved = MOVED[page];
  const { title, element } = PAGES[moved ?? page] ?? { title: 'Not found', element: <NotFound /> };
  useEffect(() => {
    if (moved !== undefined) {
      navigate(`${moved}${window.location.search}`, 'replace');
    }
  }, [moved]);
  useEffect(() => {
    document.title = `${title} · Varve`;
  }, [title]);
  return (
    <ErrorBoundary key={moved ?? page}>
      <Suspense fallback={<Loading what="page" />}>{element}</Suspense>
    </ErrorBoundary>
  );
}

export function App() {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <SettingsProvider>
        <Shell>
          <Page />
        </Shell>
      </SettingsProvider>
    </MantineProvider>
  );
}
