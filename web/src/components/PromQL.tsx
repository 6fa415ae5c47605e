// SPDX-License-Identifier: Apache-2.0
//
// An expression to read, coloured by the grammar the editor uses.
import { highlightCode, tagHighlighter, tags } from '@lezer/highlight';
import { parser } from '@prometheus-io/lezer-promql';
import { useMemo, type ReactNode } from 'react';
import classes from './components.module.css';

// Class names are found by the CSS module below; the editor has the same colours in its theme.
const highlighter = tagHighlighter([
  { tag: tags.string, class: classes.codeString ?? '' },
  { tag: tags.number, class: classes.codeNumber ?? '' },
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], class: classes.codeKeyword ?? '' },
  { tag: tags.function(tags.variableName), class: classes.codeKeyword ?? '' },
  { tag: tags.comment, class: classes.codeComment ?? '' },
  { tag: tags.labelName, class: classes.labelName ?? '' },
]);

export function PromQL({ code }: { code: string }) {
  const parts = useMemo(() => {
    const found: ReactNode[] = [];
    highlightCode(
      code,
      parser.parse(code),
      highlighter,
      (text, style) =>
        found.push(
          <span key={found.length} className={style || undefined}>
            {text}
          </span>,
        ),
      () => found.push('\n'),
    );
    return found;
  }, [code]);
  return <code className={classes.code}>{parts}</code>;
}
