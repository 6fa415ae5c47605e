// SPDX-License-Identifier: Apache-2.0
//
// A link to a page of the console: followed without loading the page anew, unless the user wants
// it in another tab.
import type { AnchorHTMLAttributes, MouseEvent } from 'react';
import { navigate } from '../app/router';

interface LinkProps extends AnchorHTMLAttributes<HTMLAnchorElement> {
  href: string;
}

function follow(event: MouseEvent<HTMLAnchorElement>, href: string): void {
  if (event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    navigate(href);
  }
}

export function Link({ href, children, ...rest }: LinkProps) {
  return (
    <a {...rest} href={href} onClick={(event) => follow(event, href)}>
      {children}
    </a>
  );
}
