// SPDX-License-Identifier: Apache-2.0
//
// The `/` key, when it is not being typed into something.
import { useEffect, useRef } from 'react';

function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement) {
    return !/^(radio|checkbox|button)$/.test(target.type);
  }
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

export function useSlashKey(action: () => void): void {
  const latest = useRef(action);
  latest.current = action;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const modified = event.ctrlKey || event.metaKey || event.altKey;
      if (event.key === '/' && !modified && !isTyping(event.target)) {
        event.preventDefault();
        latest.current();
      }
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
}
