// SPDX-License-Identifier: Apache-2.0
//
// What is shown of one request's answer, and until it comes, or if it does not.
import type { ReactNode } from 'react';
import type { Answer } from '../api/client';
import { useApi } from '../api/useApi';
import { Loading } from './Loading';
import { Notice } from './Notice';

interface LoadedProps<T> {
  // As useApi() takes it.
  load: (signal: AbortSignal) => Promise<Answer<T>>;
  // What is loaded, as in "the steps" without the article.
  what: string;
  children: (data: T) => ReactNode;
}

export function Loaded<T>({ load, what, children }: LoadedProps<T>) {
  const { answer, error } = useApi(load);
  if (error !== null) {
    return (
      <Notice kind="error" title={`The ${what} could not be loaded`}>
        {error.message}
      </Notice>
    );
  }
  return answer === null ? <Loading what={`the ${what}`} /> : children(answer.data);
}
