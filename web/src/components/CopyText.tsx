// SPDX-License-Identifier: Apache-2.0
//
// Copies a text, and says so.
import { Button, CopyButton } from '@mantine/core';
import { CheckIcon, CopyIcon } from './icons';

export function CopyText({ value, what }: { value: string; what: string }) {
  return (
    <CopyButton value={value}>
      {({ copied, copy }) => (
        <Button
          size="xs"
          variant="default"
          leftSection={copied ? <CheckIcon /> : <CopyIcon />}
          onClick={copy}
        >
          {copied ? 'Copied' : `Copy ${what}`}
        </Button>
      )}
    </CopyButton>
  );
}
