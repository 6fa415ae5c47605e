// SPDX-License-Identifier: Apache-2.0
//
// Draws a long list a part at a time: more rows whenever the end marker comes near the window.
import { useEffect, useState } from 'react';

const ROWS_PER_PART = 150;

// Returns how many of `total` rows to draw, and the ref of an element placed after them.
// Starts over when `source` changes.
export function useGradual(total: number, source: unknown) {
  const [shown, setShown] = useState(ROWS_PER_PART);
  const [marker, setMarker] = useState<Element | null>(null);
  const [shownSource, setShownSource] = useState(source);
  if (shownSource !== source) {
    setShownSource(source);
    setShown(ROWS_PER_PART);
  }

  useEffect(() => {
    if (marker === null || shown >= total) {
      return undefined;
    }
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) {
          setShown((n) => n + ROWS_PER_PART);
        }
      },
      { rootMargin: '600px' },
    );
    observer.observe(marker);
    return () => observer.disconnect();
  }, [marker, shown, total]);

  return { shown: Math.min(shown, total), end: setMarker };
}
