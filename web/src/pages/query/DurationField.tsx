// SPDX-License-Identifier: Apache-2.0
//
// A duration to type ("1h30m"), taken on Enter or when leaving the field.
import { TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import { formatDuration, parseDuration } from '../../lib/time';

interface DurationFieldProps {
  label: string;
  valueMs: number;
  onChange: (ms: number) => void;
}

export function DurationField({ label, valueMs, onChange }: DurationFieldProps) {
  const [text, setText] = useState(formatDuration(valueMs));
  useEffect(() => setText(formatDuration(valueMs)), [valueMs]);

  const parsed = parseDuration(text);
  const valid = parsed !== null && parsed > 0;
  const commit = () => {
    setText(formatDuration(valid ? parsed : valueMs));
    if (valid && parsed !== valueMs) {
      onChange(parsed);
    }
  };
  return (
    <TextInput
      size="sm"
      w={84}
      aria-label={label}
      value={text}
      error={!valid}
      onChange={(event) => setText(event.currentTarget.value)}
      onBlur={commit}
      onKeyDown={(event) => {
        if (event.key === 'Enter') {
          commit();
        }
      }}
    />
  );
}
