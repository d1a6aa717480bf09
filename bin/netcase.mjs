#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that an old one is told what is wrong instead of failing on syntax.
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

const [major] = process.versions.node.split('.').map(Number);
if (major < 22) {
  process.stderr.write(
    `netcase needs Node 22 or newer and this is ${process.version}: run it as "npx netcase", which brings its own Node.\n`,
  );
  process.exit(70);
}
const built = new URL('../dist/main.mjs', import.meta.url);
// start-up is most of a single bundle's time; beside the program, so that only who may change the program may change it
if (existsSync(built)) module.enableCompileCache?.(fileURLToPath(new URL('../dist/compile-cache', import.meta.url)));
const { main } = await import(existsSync(built) ? built.href : new URL('../src/main.ts', import.meta.url).href);
await main(process.argv.slice(2));
