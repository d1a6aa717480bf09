#!/usr/bin/env node
// Plain JavaScript that any Node can parse, so that an old one is told what is wrong instead of failing on syntax; CommonJS, because
// starting Node's loader of modules takes 8 ms.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const [major] = process.versions.node.split('.').map(Number);
if (major < 22) {
  process.stderr.write(
    `netcase needs Node 22 or newer and this is ${process.version}: run it as "npx netcase", which brings its own Node.\n`,
  );
  process.exit(70);
}
if (existsSync(join(__dirname, '../dist/netcase.cjs'))) require('./program.cjs').main(process.argv.slice(2));
else import('../src/main.ts').then(({ main }) => main(process.argv.slice(2)));
