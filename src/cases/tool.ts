import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Put in by the build; a checkout without a build computes the same from its sources. */
declare const NETCASE_BUILD: { readonly version: string; readonly ruleset: string } | undefined;

/** Folders whose text decides what the rules answer: a change in any of them is another rule set. */
const JUDGING = ['rules', 'src/core', 'src/facts', 'src/parsers', 'src/derive', 'src/net', 'src/rule', 'src/engine'];

let known: { version: string; ruleset: string } | undefined;

/** Version of the tool and sha256 over everything that judges. */
export function tool(): { readonly name: 'netcase'; readonly version: string; readonly ruleset: string } {
  if (known === undefined) {
    if (typeof NETCASE_BUILD !== 'undefined') known = NETCASE_BUILD;
    else {
      const root = join(import.meta.dirname, '../..');
      const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
      known = { version, ruleset: rulesetHash(root) };
    }
  }
  return { name: 'netcase', ...known };
}

/** sha256 over the sorted paths and texts of the judging folders. scripts/build.mjs has the same lines. */
function rulesetHash(root: string): string {
  const hash = createHash('sha256');
  for (const folder of JUDGING) {
    const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith('.ts'))
      .sort();
    for (const file of files) {
      const text = readFileSync(join(root, folder, file));
      hash.update(`${folder}/${file} ${text.length}\n`).update(text);
    }
  }
  return hash.digest('hex');
}
