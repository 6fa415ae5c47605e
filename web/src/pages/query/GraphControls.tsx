// SPDX-License-Identifier: Apache-2.0
//
// Range, end, resolution and looks of a graph.
import { ActionIcon, Checkbox, NativeSelect } from '@mantine/core';
import { MinusIcon, PlusIcon } from '../../components/icons';
import { effectiveStep, type Density, type PanelState } from '../../lib/queryState';
import { formatElapsed } from '../../lib/time';
import { DurationField } from './DurationField';
import { TimeField } from './TimeField';
import classes from './query.module.css';

const MINUTE = 60e3;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const RANGES = [
  1 * MINUTE,
  5 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  1 * HOUR,
  2 * HOUR,
  6 * HOUR,
  12 * HOUR,
  1 * DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
  30 * DAY,
  90 * DAY,
  365 * DAY,
];

interface GraphControlsProps {
  panel: PanelState;
  onChange: (change: Partial<PanelState>) => void;
}

export function GraphControls({ panel, onChange }: GraphControlsProps) {
  const { rangeMs, stepMs, density } = panel;
  const shorter = [...RANGES].reverse().find((ms) => ms < rangeMs);
  const longer = RANGES.find((ms) => ms > rangeMs);
  const setResolution = (choice: string) =>
    choice === 'custom'
      ? onChange({ stepMs: effectiveStep(panel) * 1000 })
      : onChange({ stepMs: null, density: choice as Density });
  return (
    <>
      <div className={classes.joined} role="group" aria-label="Range">
        <ActionIcon
          variant="default"
          size={34}
          aria-label="Shorter range"
          disabled={shorter === undefined}
          onClick={() => shorter !== undefined && onChange({ rangeMs: shorter })}
        >
          <MinusIcon />
        </ActionIcon>
        <DurationField
          label="Range, as 1h30m"
          valueMs={rangeMs}
          onChange={(ms) => onChange({ rangeMs: ms })}
        />
        <ActionIcon
          variant="default"
          size={34}
          aria-label="Longer range"
          disabled={longer === undefined}
          onClick={() => longer !== undefined && onChange({ rangeMs: longer })}
        >
          <PlusIcon />
        </ActionIcon>
      </div>
      <TimeField
        label="End time"
        valueMs={panel.endMs}
        stepMs={rangeMs / 2}
        onChange={(ms) => onChange({ endMs: ms })}
      />
      <NativeSelect
        size="sm"
        aria-label="Resolution"
        value={stepMs === null ? density : 'custom'}
        onChange={(event) => setResolution(event.currentTarget.value)}
        data={[
          { value: 'low', label: 'Low resolution' },
          { value: 'medium', label: 'Medium resolution' },
          { value: 'high', label: 'High resolution' },
          { value: 'custom', label: 'Fixed step' },
        ]}
      />
      {stepMs === null ? (
        <span className="dim num">step {formatElapsed(effectiveStep(panel) * 1000)}</span>
      ) : (
        <DurationField
          label="Step, as 15s"
          valueMs={stepMs}
          onChange={(ms) => onChange({ stepMs: ms })}
        />
      )}
      <div className={classes.looks}>
        <Checkbox
          size="xs"
          label="Stacked"
          checked={panel.stacked}
          onChange={(event) => onChange({ stacked: event.currentTarget.checked })}
        />
        <Checkbox
          size="xs"
          label="From zero"
          checked={panel.zeroBased}
          onChange={(event) => onChange({ zeroBased: event.currentTarget.checked })}
        />
      </div>
    </>
  );
}
