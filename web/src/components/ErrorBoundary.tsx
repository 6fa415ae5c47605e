// SPDX-License-Identifier: Apache-2.0
//
// Keeps a defect in one page from blanking the console.
import { Component, type ReactNode } from 'react';
import { Notice } from './Notice';

export class ErrorBoundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    if (this.state.error === null) {
      return this.props.children;
    }
    return (
      <Notice kind="error" title="This page failed to draw">
        {this.state.error.message}
      </Notice>
    );
  }
}
