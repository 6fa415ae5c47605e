// SPDX-License-Identifier: Apache-2.0
//
// A moment to type or to step through; empty means now.
import { ActionIcon, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import { useSettings } from '../../app/settings';
import { CloseIcon, LeftIcon, RightIcon } from '../../components/icons';
import { formatTime, parseTime } from '../../lib/time';
import classes from './query.module.css';

interface TimeFieldProps {
  label: string;
  valueMs: number | null;
  // How far one step back or forward goes.
  stepMs: number;
  onChange: (ms: number | null) => void;
}

export function TimeField({ label, valueMs, stepMs, onChange }: TimeFieldProps) {
  const { utc } = useSettings();
  const shown = valueMs === null ? '' : formatTime(valueMs, utc);
  const [text, setText] = useState(shown);
  useEffect(() => setText(shown), [shown]);

  const parsed = parseTime(text, utc);
  const valid = text.trim() === '' || parsed !== null;
  const commit = () => {
    if (!valid) {
      setText(shown);
    } else if (text !== shown) {
      onChange(text.trim() === '' ? null : parsed);
    }
  };
  const move = (ms: number) => onChange(Math.round(((valueMs ?? Date.now()) + ms) / 1000) * 1000);
  return (
    <div className={classes.joined} role="group" aria-label={label}>
      <ActionIcon
        variant="default"
        size={34}
        aria-label={`${label}: earlier`}
        onClick={() => move(-stepMs)}
      >
        <LeftIcon />
      </ActionIcon>
      <TextInput
        size="sm"
        w={186}
        aria-label={`${label}, as 2026-01-31 12:00:00`}
        placeholder="now"
        value={text}
        error={!valid}
        onChange={(event) => setText(event.currentTarget.value)}
        onBlur={commit}
        onKeyDown={(event) => {
          if (event.key === 'Enter') {
            commit();
          }
        }}
        rightSection={
          valueMs !== null && (
            <ActionIcon
              variant="subtle"
              color="gray"
              size="sm"
              aria-label={`${label}: back to now`}
              onClick={() => onChange(null)}
            >
              <CloseIcon />
            </ActionIcon>
          )
        }
      />
      <ActionIcon
        variant="default"
        size={34}
        aria-label={`${label}: later`}
        onClick={() => move(stepMs)}
      >
        <RightIcon />
      </ActionIcon>
    </div>
  );
}
