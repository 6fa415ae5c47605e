// SPDX-License-Identifier: Apache-2.0
//
// The mark: layers of sediment under water.

export function Logo({ size }: { size: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <clipPath id="varve-mark">
        <rect x="1" y="1" width="30" height="30" rx="8" />
      </clipPath>
      <g clipPath="url(#varve-mark)">
        <rect width="32" height="32" fill="#123b3f" />
        <path
          d="M0 9.5c6-3 10 2.5 16 0s10-2 16 .5v6c-6-2.5-10-2.5-16 0s-10 2.5-16 0z"
          fill="#4fb3ae"
        />
        <path
          d="M0 16c6 2.5 10 2.5 16 0s10-2.5 16 0v4c-6-2-10-1.5-16 .5s-10 2-16-.5z"
          fill="#f1e3c6"
        />
        <path
          d="M0 20c6 2.5 10 2.5 16 .5s10-2.5 16-.5v5.5c-6-1.5-10-1-16 .5s-10 1.5-16-.5z"
          fill="#c98a45"
        />
        <path d="M0 25.5c6 2 10 1.5 16 .5s10-2 16-.5V32H0z" fill="#7a4f2b" />
      </g>
    </svg>
  );
}
