// SPDX-License-Identifier: Apache-2.0
//
// Durations as Prometheus writes them, and times as people read them.

const UNITS: ReadonlyArray<readonly [string, number]> = [
  ['y', 365 * 86400e3],
  ['w', 7 * 86400e3],
  ['d', 86400e3],
  ['h', 3600e3],
  ['m', 60e3],
  ['s', 1e3],
  ['ms', 1],
];

const DURATION = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;

// Milliseconds of "1h30m" or of plain seconds ("90", "0.5"); null if `text` is not a duration.
export function parseDuration(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) {
    return Number(trimmed) * 1000;
  }
  const match = DURATION.exec(trimmed);
  if (trimmed === '' || match === null) {
    return null;
  }
  return UNITS.reduce((sum, [, ms], i) => sum + Number(match[i + 1] ?? 0) * ms, 0);
}

// Shortest exact text of a duration: 5400000 is "1h30m". Years and weeks only when nothing is left.
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  if (rest === 0) {
    return '0s';
  }
  let text = '';
  for (const [unit, size] of UNITS) {
    const whole = unit === 'y' || unit === 'w';
    if (rest >= size && (!whole || rest % size === 0)) {
      text += `${Math.floor(rest / size)}${unit}`;
      rest %= size;
    }
  }
  return text;
}

// An elapsed time rounded to what matters: "1.93ms", "417ms", "2.5s", "3m 4s", "2d 5h".
export function formatElapsed(ms: number): string {
  if (ms < 1000) {
    return `${Number(ms.toPrecision(3))}ms`;
  }
  if (ms < 60e3) {
    return `${Number((ms / 1000).toFixed(ms < 10e3 ? 2 : 1))}s`;
  }
  const steps: ReadonlyArray<readonly [string, number, string, number]> = [
    ['d', 86400e3, 'h', 3600e3],
    ['h', 3600e3, 'm', 60e3],
    ['m', 60e3, 's', 1e3],
  ];
  for (const [major, majorMs, minor, minorMs] of steps) {
    if (ms >= majorMs) {
      const small = Math.floor((ms % majorMs) / minorMs);
      return `${Math.floor(ms / majorMs)}${major}${small > 0 ? ` ${small}${minor}` : ''}`;
    }
  }
  return '';
}

// "12s ago"; "never" for the zero time, which Go writes as the year 1.
export function formatAgo(iso: string, now: number): string {
  const time = Date.parse(iso);
  if (Number.isNaN(time) || time <= 0) {
    return 'never';
  }
  const ms = now - time;
  if (ms < -1000) {
    return `in ${formatElapsed(-ms)}`;
  }
  return `${ms < 1000 ? '0s' : formatElapsed(Math.floor(ms / 1000) * 1000)} ago`;
}

const two = (n: number): string => String(n).padStart(2, '0');

// "2026-03-01 14:05:09", in UTC or in the browser's zone; the form that fits a shared address.
export function formatTime(ms: number, utc: boolean): string {
  const d = new Date(utc ? ms : ms - new Date(ms).getTimezoneOffset() * 60e3);
  return (
    `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ` +
    `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`
  );
}

// Milliseconds of "2026-03-01 14:05[:09]" (a "T" may stand for the blank), or null.
export function parseTime(text: string, utc: boolean): number | null {
  const match = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::(\d\d))?)?Z?$/.exec(text.trim());
  if (match === null) {
    return null;
  }
  const [, day, minutes = '00:00', seconds = '00'] = match;
  const ms = Date.parse(`${day}T${minutes}:${seconds}${utc ? 'Z' : ''}`);
  return Number.isNaN(ms) ? null : ms;
}
