// SPDX-License-Identifier: Apache-2.0
//
// Command-line flags and their values, searchable.
import { useState } from 'react';
import type { StringMap } from '../../api/types';
import { Card } from '../../components/Card';
import { SearchBox } from '../../components/SearchBox';
import { matchesSearch } from '../../lib/format';
import classes from '../pages.module.css';

export function FlagsCard({ flags }: { flags: StringMap }) {
  const [search, setSearch] = useState('');
  const rows = Object.entries(flags)
    .filter(([name, value]) => search === '' || matchesSearch(`--${name} ${value}`, search))
    .sort(([a], [b]) => a.localeCompare(b));
  return (
    <Card
      title="Flags"
      aside={<SearchBox label="Filter flags" value={search} onChange={setSearch} />}
    >
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">Flag</th>
            <th scope="col">Value</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <td className="mono">--{name}</td>
              <td className={`mono ${classes.url}`}>{value}</td>
            </tr>
          ))}
          {rows.length === 0 && (
            <tr>
              <td colSpan={2} className="dim">
                No flag matches.
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </Card>
  );
}
