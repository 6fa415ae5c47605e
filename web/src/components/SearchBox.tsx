// SPDX-License-Identifier: Apache-2.0
//
// The text filter above a list. `/` moves to it, as it does to the editor on the query page.
import { TextInput } from '@mantine/core';
import { useRef } from 'react';
import { SearchIcon } from './icons';
import { useSlashKey } from './useSlashKey';

interface SearchBoxProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
}

export function SearchBox({ label, value, onChange }: SearchBoxProps) {
  const input = useRef<HTMLInputElement>(null);
  useSlashKey(() => input.current?.focus());
  return (
    <TextInput
      ref={input}
      type="search"
      size="sm"
      aria-label={label}
      placeholder={`${label}  ( / )`}
      leftSection={<SearchIcon />}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      w={300}
    />
  );
}
