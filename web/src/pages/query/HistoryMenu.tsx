// SPDX-License-Identifier: Apache-2.0
//
// Earlier expressions, to take into the editor.
import { ActionIcon, Menu, Tooltip } from '@mantine/core';
import { useState } from 'react';
import { HistoryIcon } from '../../components/icons';
import { PromQL } from '../../components/PromQL';
import classes from './query.module.css';

interface HistoryMenuProps {
  history: readonly string[];
  onPick: (expr: string) => void;
  onClear: () => void;
}

export function HistoryMenu({ history, onPick, onClear }: HistoryMenuProps) {
  const [opened, setOpened] = useState(false);
  return (
    <Menu opened={opened} onChange={setOpened} position="bottom-end" width={560} shadow="md">
      <Menu.Target>
        <Tooltip label="Query history" disabled={opened}>
          <ActionIcon variant="default" size={38} aria-label="Query history">
            <HistoryIcon />
          </ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown className={classes.history}>
        {history.length === 0 && <Menu.Label>Queries you execute are kept here.</Menu.Label>}
        {history.map((expr) => (
          <Menu.Item key={expr} onClick={() => onPick(expr)}>
            <PromQL code={expr} />
          </Menu.Item>
        ))}
        {history.length > 0 && (
          <>
            <Menu.Divider />
            <Menu.Item onClick={onClear}>Clear history</Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
