import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { netcase, root } from '../support/analyse.ts';

it('the text says what to do, in a line that can be copied, and counts questions as its first sentence does', async () => {
  const own = mkdtempSync(join(tmpdir(), 'nc-text-'));
  const bundles = join(root, 'fixtures/bundles/demo');
  const flags = ['--case', join(own, 'c.netcase'), '--format', 'text', '-o', '-', '--quiet'];
  const { stdout } = await netcase(['analyze', bundles, ...flags]);
  rmSync(own, { recursive: true, force: true });
  expect(stdout.split('\n')).toContain(
    '      $ iptables -I FORWARD -d 10.244.0.0/16 -j ACCEPT; iptables -I FORWARD -s 10.244.0.0/16 -j ACCEPT',
  );
  expect(stdout).toContain('   -> Find out who should have written the accept rules');
  const asked = /(\d+) questions\s+could\s+not\s+be\s+decided\./.exec(stdout)?.[1];
  expect(stdout).toContain(`${asked} questions could not be decided, for 1 reason:`);
});
