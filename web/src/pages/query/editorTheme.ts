// SPDX-License-Identifier: Apache-2.0
//
// The editor's looks, from the page's colour tokens, so that both schemes need no second theme.
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

const base = EditorView.theme({
  '&': { backgroundColor: 'transparent', color: 'var(--v-text)', fontSize: '0.875rem' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': {
    fontFamily: 'var(--mantine-font-family-monospace)',
    lineHeight: '1.55',
    maxHeight: '40vh',
    overflow: 'auto',
  },
  '.cm-content': { padding: '7px 0', caretColor: 'var(--v-accent)' },
  '.cm-line': { padding: '0 12px' },
  '.cm-cursor': { borderLeftColor: 'var(--v-accent)', borderLeftWidth: '2px' },
  '.cm-placeholder': { color: 'var(--v-dim)' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground':
    { backgroundColor: 'color-mix(in srgb, var(--v-accent) 26%, transparent)' },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': {
    backgroundColor: 'var(--v-accent-soft)',
    outline: '1px solid var(--v-accent)',
  },
  '.cm-nonmatchingBracket, &.cm-focused .cm-nonmatchingBracket': {
    backgroundColor: 'var(--v-bad-soft)',
    color: 'var(--v-bad)',
  },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--v-bad)',
    textDecorationSkipInk: 'none',
    textUnderlineOffset: '3px',
  },
  '.cm-tooltip': {
    border: '1px solid var(--v-border)',
    borderRadius: '8px',
    backgroundColor: 'var(--v-surface)',
    color: 'var(--v-text)',
    boxShadow: 'var(--v-shadow-float)',
    overflow: 'hidden',
  },
  '.cm-tooltip.cm-tooltip-autocomplete': { marginTop: '5px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': {
    maxHeight: '320px',
    fontFamily: 'var(--mantine-font-family-monospace)',
    fontSize: '0.8125rem',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': {
    display: 'flex',
    alignItems: 'baseline',
    gap: '8px',
    padding: '3px 10px',
  },
  '.cm-tooltip-autocomplete ul li[aria-selected]': {
    backgroundColor: 'var(--v-accent-soft)',
    color: 'var(--v-text)',
  },
  '.cm-completionMatchedText': {
    color: 'var(--v-accent)',
    fontWeight: '700',
    textDecoration: 'none',
  },
  '.cm-completionDetail': {
    marginLeft: 'auto',
    paddingLeft: '20px',
    color: 'var(--v-dim)',
    fontStyle: 'normal',
  },
  '.cm-completionIcon': { display: 'none' },
  '.cm-tooltip.cm-completionInfo': {
    maxWidth: '420px',
    padding: '8px 12px',
    fontSize: '0.8125rem',
  },
  '.cm-diagnostic': { padding: '6px 12px', fontSize: '0.8125rem' },
  '.cm-diagnostic-error': { borderLeft: '4px solid var(--v-bad)' },
});

const highlight = HighlightStyle.define([
  { tag: tags.string, color: 'var(--v-code-string)' },
  { tag: tags.number, color: 'var(--v-code-number)' },
  {
    tag: [tags.keyword, tags.modifier, tags.operatorKeyword, tags.function(tags.variableName)],
    color: 'var(--v-code-keyword)',
    fontWeight: '600',
  },
  { tag: tags.labelName, color: 'var(--v-label-name)' },
  { tag: tags.comment, color: 'var(--v-code-comment)', fontStyle: 'italic' },
]);

export const editorTheme = [base, syntaxHighlighting(highlight)];
