// SPDX-License-Identifier: Apache-2.0
//
// Colours and sizes of the console: lake teal for what can be acted on, stone greys for the rest.
import { Button, createTheme, Input, type MantineColorsTuple } from '@mantine/core';

const teal: MantineColorsTuple = [
  '#eef8f7',
  '#d9efed',
  '#b0dfdb',
  '#82cdc8',
  '#57bdb6',
  '#37a69f',
  '#1f8b86',
  '#12716e',
  '#0d5a59',
  '#0a4546',
];

const stone: MantineColorsTuple = [
  '#faf8f4',
  '#f3f0ea',
  '#e8e3da',
  '#dbd5c9',
  '#c6bfb1',
  '#8b8476',
  '#66615a',
  '#4e4a43',
  '#35322d',
  '#211f1b',
];

const night: MantineColorsTuple = [
  '#e2e6e7',
  '#c3cacd',
  '#9fabb0',
  '#76848a',
  '#3a464d',
  '#2c363c',
  '#1f272c',
  '#13191d',
  '#0f1417',
  '#0a0e10',
];

export const theme = createTheme({
  colors: { teal, gray: stone, dark: night },
  primaryColor: 'teal',
  primaryShade: 7,
  fontFamily:
    'Inter, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
  fontFamilyMonospace:
    'ui-monospace, "JetBrains Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.125rem' },
  defaultRadius: 'md',
  radius: { xs: '3px', sm: '4px', md: '6px', lg: '10px', xl: '16px' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Button: Button.extend({
      vars: (_, { size }) => ({
        root: size === 'xs' ? {} : { '--button-height': '34px', '--button-padding-x': '14px' },
      }),
    }),
    Input: Input.extend({
      vars: () => ({
        wrapper: {
          '--input-height': '34px',
          '--input-fz': '0.8125rem',
          '--input-bg': 'var(--v-surface)',
          '--input-bd': 'var(--v-border-strong)',
          '--input-bd-focus': 'var(--v-focus)',
        },
      }),
    }),
  },
});
