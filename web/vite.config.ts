// SPDX-License-Identifier: Apache-2.0
//
// Build of the console. Asset addresses are relative: the server may live under any route prefix,
// and every page is one path segment below it. VARVE_URL names the server `npm run dev` talks to.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const server = process.env.VARVE_URL ?? 'http://127.0.0.1:9090';

export default defineConfig({
  base: './',
  plugins: [react()],
  build: { target: 'es2021', modulePreload: { polyfill: false }, chunkSizeWarningLimit: 700 },
  server: { host: '127.0.0.1', proxy: { '/api': server, '/-/': server } },
  test: { include: ['test/**/*.test.ts'] },
});
