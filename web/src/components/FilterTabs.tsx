// SPDX-License-Identifier: Apache-2.0
//
// A choice among a few states, each with how many there are.
import { SegmentedControl } from '@mantine/core';

interface FilterTabsProps<T extends string> {
  label: string;
  value: string;
  options: ReadonlyArray<{ value: T; text: string; count?: number }>;
  onChange: (value: T) => void;
}

export function FilterTabs<T extends string>(props: FilterTabsProps<T>) {
  const { label, value, options, onChange } = props;
  return (
    <SegmentedControl
      size="sm"
      aria-label={label}
      value={value}
      onChange={(next) => onChange(next as T)}
      data={options.map(({ value: option, text, count }) => ({
        value: option,
        label: count === undefined ? text : `${text} ${count.toLocaleString('en')}`,
      }))}
    />
  );
}
