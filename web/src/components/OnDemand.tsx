// SPDX-License-Identifier: Apache-2.0
//
// Something that is asked for only when the user wants it: until then a button stands in its place.
import { Button } from '@mantine/core';
import { useState, type ReactNode } from 'react';

export function OnDemand({ button, children }: { button: string; children: ReactNode }) {
  const [asked, setAsked] = useState(false);
  return asked ? (
    children
  ) : (
    <Button size="xs" variant="default" onClick={() => setAsked(true)}>
      {button}
    </Button>
  );
}
