// Fleets on disk, made once for each set of arguments and version of the generator.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeFleet } from '../fleet/index.mjs';
import { parseOptions } from '../fleet/options.mjs';

const generator = () => {
  const hash = createHash('sha256');
  const dir = join(import.meta.dirname, '../fleet');
  for (const f of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort())
    if (statSync(join(dir, f)).isFile()) hash.update(readFileSync(join(dir, f)));
  return hash.digest('hex');
};

/** Folder, files and truth of the fleet that the generator's arguments name. */
export async function fleet(root, args) {
  const key = createHash('sha256')
    .update(`${generator()} ${args.join(' ')}`)
    .digest('hex')
    .slice(0, 12);
  const dir = join(root, `fleet-${key}`);
  if (!existsSync(join(dir, 'truth.json'))) {
    const part = `${dir}.part-${process.pid}`;
    await writeFleet(parseOptions([...args, '--out', part]));
    rmSync(dir, { recursive: true, force: true });
    renameSync(part, dir);
  }
  const truth = JSON.parse(readFileSync(join(dir, 'truth.json'), 'utf8'));
  const files = readdirSync(dir)
    .filter((f) => f.endsWith('.tar.gz'))
    .sort()
    .map((f) => join(dir, f));
  return { dir, files, truth };
}
