#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that an old one is told what is wrong instead of failing on syntax.
import { existsSync } from 'node:fs';

const [major] = process.versions.node.split('.').map(Number);
if (major < 22) {
  process.stderr.write(
    `netcase needs Node 22 or newer and this is ${process.version}: run it as "npx netcase", which brings its own Node.\n`,
  );
  process.exit(70);
}
const built = existsSync(new URL('../dist/netcase.cjs', import.meta.url));
const { main } = built ? (await import('./program.cjs')).default : await import('../src/main.ts');
await main(process.argv.slice(2));
