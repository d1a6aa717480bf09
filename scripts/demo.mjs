// `npm run demo`: the sample case of fixtures/ through the real command, from bundles to three reports.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(fileURLToPath(import.meta.url), '../..');
process.chdir(root);
for (const old of ['demo.netcase', 'incident.html', 'incident.md', 'incident.json']) rmSync(old, { force: true });

const run = (...args) =>
  spawnSync(process.execPath, ['bin/netcase.cjs', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
const analysed = run(
  'analyze',
  'fixtures/bundles/demo',
  '--case',
  'demo.netcase',
  '--format',
  'html',
  '--format',
  'md',
  '--format',
  'json',
  '-o',
  'incident.html',
);
// the demo's nodes are broken on purpose: exit code 1 says that findings were found
if (analysed.status !== 1) {
  console.error(`netcase analyze ended with ${analysed.status}; the sample case should give findings (1)`);
  process.exit(analysed.status === 0 ? 1 : (analysed.status ?? 1));
}
const text = run('report', '--case', 'demo.netcase', '--format', 'text');
process.stdout.write(text.stdout);
console.log(
  `\nreports: ${['incident.html', 'incident.md', 'incident.json'].map((f) => join(root, f)).join('\n         ')}`,
);
