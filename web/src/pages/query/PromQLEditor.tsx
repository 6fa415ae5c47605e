// SPDX-License-Identifier: Apache-2.0
//
// The expression editor: CodeMirror with PromQL's highlighting, linting and completion.
import {
  acceptCompletion,
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import {
  defaultKeymap,
  history,
  historyKeymap,
  insertNewlineAndIndent,
} from '@codemirror/commands';
import { bracketMatching } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useImperativeHandle, useRef, type Ref } from 'react';
import { basePath } from '../../api/client';
import { editorTheme } from './editorTheme';

const COMPLETION_LOOKBACK_MS = 12 * 3600e3;

export interface EditorHandle {
  focus: () => void;
}

interface EditorProps {
  value: string;
  onChange: (value: string) => void;
  onExecute: () => void;
  label: string;
  handle: Ref<EditorHandle>;
}

export function PromQLEditor({ value, onChange, onExecute, label, handle }: EditorProps) {
  const parent = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  // The editor is built once; it calls whatever the latest render passed.
  const callbacks = useRef({ onChange, onExecute });
  callbacks.current = { onChange, onExecute };
  const initial = useRef({ value, label });

  useEffect(() => {
    if (parent.current === null) {
      return undefined;
    }
    const promql = new PromQLExtension().setComplete({
      remote: { url: basePath, httpMethod: 'GET', lookbackInterval: COMPLETION_LOOKBACK_MS },
    });
    const execute = () => {
      callbacks.current.onExecute();
      return true;
    };
    const editor = new EditorView({
      parent: parent.current,
      state: EditorState.create({
        doc: initial.current.value,
        extensions: [
          // Tab takes a completion when one is offered; otherwise it leaves the editor.
          Prec.highest(
            keymap.of([
              { key: 'Mod-Enter', run: execute },
              { key: 'Tab', run: acceptCompletion },
            ]),
          ),
          // Below completion's own Enter, which takes what is selected in the list.
          Prec.high(
            keymap.of([
              { key: 'Enter', run: execute },
              { key: 'Shift-Enter', run: insertNewlineAndIndent },
            ]),
          ),
          Prec.highest(keymap.of(completionKeymap)),
          history(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ defaultKeymap: false, maxRenderedOptions: 200 }),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap]),
          placeholder('Expression, for example: sum by (job) (rate(http_requests_total[5m]))'),
          promql.asExtension(),
          editorTheme,
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({
            'aria-label': initial.current.label,
            'aria-multiline': 'true',
            role: 'textbox',
          }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) {
              callbacks.current.onChange(update.state.doc.toString());
            }
          }),
        ],
      }),
    });
    view.current = editor;
    return () => {
      view.current = null;
      editor.destroy();
      promql.destroy();
    };
  }, []);

  // Text set from outside: history, a link, the back button.
  useEffect(() => {
    const editor = view.current;
    if (editor !== null && editor.state.doc.toString() !== value) {
      editor.dispatch({
        changes: { from: 0, to: editor.state.doc.length, insert: value },
        selection: { anchor: value.length },
      });
    }
  }, [value]);

  useImperativeHandle(handle, () => ({ focus: () => view.current?.focus() }), []);

  return <div ref={parent} />;
}
