import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** Tests of the command run the bundle that users run, built from the sources that are here. */
export default function setup(): void {
  execFileSync(process.execPath, [join(import.meta.dirname, '../../scripts/build.mjs')], { stdio: 'inherit' });
}
