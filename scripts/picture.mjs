// The README's picture: the sample case's report (`npm run demo`) as Chromium shows it. Run after a change of the report's looks.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = join(fileURLToPath(import.meta.url), '../..');
const work = mkdtempSync(join(tmpdir(), 'netcase-picture-'));
const report = join(work, 'incident.html');
const ran = spawnSync(
  process.execPath,
  ['bin/netcase.cjs', 'analyze', 'fixtures/bundles/demo', '--case', join(work, 'demo.netcase'), '-o', report],
  { cwd: root, encoding: 'utf8', env: { ...process.env, SOURCE_DATE_EPOCH: '1795451272' } },
);
if (ran.status !== 1) throw new Error(`netcase analyze ended with ${ran.status}: ${ran.stderr}`);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: 960, height: 1040 } });
await page.goto(`file://${report}`);
await page.screenshot({ path: join(root, 'docs/report.png') });
await browser.close();
rmSync(work, { recursive: true });
