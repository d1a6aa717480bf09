#!/usr/bin/env node
// Writes a fleet of bundles: node bench/fleet.mjs --preset medium --out /tmp/fleet
import { writeFleet } from './fleet/index.mjs';
import { parseOptions, USAGE, UsageError } from './fleet/options.mjs';

try {
  const options = parseOptions(process.argv.slice(2));
  if (options.out === undefined) throw new UsageError('--out DIR is needed');
  const truth = await writeFleet(options);
  process.stdout.write(`${truth.nodes} nodes, ${truth.rules} rules, ${truth.bytes} bytes in ${options.out}\n`);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}
