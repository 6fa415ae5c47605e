// SPDX-License-Identifier: Apache-2.0
//
// Copies a text, and says so.
import { Button } from '@mantine/core';
import { useEffect, useState } from 'react';
import { CheckIcon, CopyIcon } from './icons';

const SHOWN_MS = 1500;

// Browsers give the clipboard only to https and localhost; elsewhere a selection is copied.
async function copyText(text: string): Promise<boolean> {
  if (window.isSecureContext) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}

export function CopyText({ value, what }: { value: string; what: string }) {
  const [outcome, setOutcome] = useState<'copied' | 'failed' | null>(null);
  useEffect(() => {
    if (outcome === null) {
      return undefined;
    }
    const timer = setTimeout(() => setOutcome(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const texts = { copied: 'Copied', failed: 'Not allowed' };
  return (
    <Button
      size="xs"
      variant="default"
      leftSection={outcome === 'copied' ? <CheckIcon /> : <CopyIcon />}
      onClick={() => void copyText(value).then((done) => setOutcome(done ? 'copied' : 'failed'))}
    >
      {outcome === null ? `Copy ${what}` : texts[outcome]}
    </Button>
  );
}
