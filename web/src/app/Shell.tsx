// SPDX-License-Identifier: Apache-2.0
//
// What surrounds every page: skip link, navigation, time zone and colour scheme.
import { ActionIcon, Tooltip, useMantineColorScheme, type MantineColorScheme } from '@mantine/core';
import { useEffect, useRef, type ReactNode } from 'react';
import { AutoIcon, MoonIcon, SunIcon } from '../components/icons';
import { Link } from '../components/Link';
import { Logo } from '../components/Logo';
import { usePage } from './router';
import { useSettings } from './settings';
import classes from './Shell.module.css';

const LINKS = [
  { page: 'query', text: 'Query' },
  { page: 'targets', text: 'Targets' },
  { page: 'rules', text: 'Rules' },
  { page: 'alerts', text: 'Alerts' },
  { page: 'status', text: 'Status' },
] as const;

const SCHEMES: Record<MantineColorScheme, { next: MantineColorScheme; icon: ReactNode }> = {
  auto: { next: 'light', icon: <AutoIcon /> },
  light: { next: 'dark', icon: <SunIcon /> },
  dark: { next: 'auto', icon: <MoonIcon /> },
};

function SchemeToggle() {
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  const { next, icon } = SCHEMES[colorScheme];
  const label = `Colour scheme: ${colorScheme}. Switch to ${next}`;
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant="subtle"
        color="gray"
        size="lg"
        aria-label={label}
        onClick={() => setColorScheme(next)}
      >
        {icon}
      </ActionIcon>
    </Tooltip>
  );
}

function ZoneToggle() {
  const { utc, setUtc } = useSettings();
  const label = `Times are shown in ${utc ? 'UTC' : 'local time'}. Switch to ${utc ? 'local time' : 'UTC'}`;
  return (
    <Tooltip label={label}>
      <button
        type="button"
        className={classes.zone}
        aria-label={label}
        onClick={() => setUtc(!utc)}
      >
        {utc ? 'UTC' : 'Local'}
      </button>
    </Tooltip>
  );
}

export function Shell({ children }: { children: ReactNode }) {
  const page = usePage();
  const main = useRef<HTMLElement>(null);
  const shownPage = useRef(page);

  // A new page starts where a fresh load would: readers of the screen hear it, Tab enters it.
  useEffect(() => {
    if (shownPage.current !== page) {
      shownPage.current = page;
      main.current?.focus();
      window.scrollTo(0, 0);
    }
  }, [page]);

  return (
    <>
      <a
        className={classes.skip}
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to content
      </a>
      <header className={classes.header}>
        <div className={classes.bar}>
          <Link className={classes.brand} href="query" aria-label="Varve: query page">
            <Logo size={26} />
            <span>Varve</span>
          </Link>
          <nav className={classes.nav} aria-label="Pages">
            {LINKS.map((link) => (
              <Link
                key={link.page}
                href={link.page}
                className={classes.link}
                aria-current={page === link.page ? 'page' : undefined}
              >
                {link.text}
              </Link>
            ))}
          </nav>
          <div className={classes.tools}>
            <ZoneToggle />
            <SchemeToggle />
          </div>
        </div>
        <div className={classes.strata} aria-hidden="true" />
      </header>
      <main id="main" ref={main} tabIndex={-1} className={classes.main}>
        {children}
      </main>
    </>
  );
}
