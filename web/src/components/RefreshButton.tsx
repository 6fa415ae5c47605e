// SPDX-License-Identifier: Apache-2.0
//
// Loads a page's data again.
import { Button } from '@mantine/core';
import { RefreshIcon } from './icons';

export function RefreshButton({ loading, onClick }: { loading: boolean; onClick: () => void }) {
  return (
    <Button
      size="sm"
      variant="default"
      leftSection={<RefreshIcon />}
      aria-busy={loading}
      onClick={onClick}
    >
      Refresh
    </Button>
  );
}
