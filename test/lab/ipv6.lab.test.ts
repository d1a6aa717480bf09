import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { analyse, serious } from '../support/analyse.ts';
import { dualStack, ipv6ForwardDisabled, Lab, labsAvailable, OUTSIDE6 } from '../support/lab/index.ts';

describe.skipIf(!labsAvailable())('a dual-stack node', () => {
  it('ipv6-forward-disabled; its remedy lets pods out again', async () => {
    await using lab = await Lab.create({ nodes: 1 });
    await dualStack(lab);
    const dir = mkdtempSync(join(tmpdir(), 'nc-ipv6-'));
    const judge = async () => (await analyse(await lab.collectAll(dir))).json;
    const ask = (to: string) => lab.probe({ from: lab.node().pod(), to, proto: 'icmp' });
    try {
      expect(await ask(OUTSIDE6)).toMatchObject({ outcome: 'ok' });
      await ipv6ForwardDisabled(lab);
      expect(await ask(OUTSIDE6)).toMatchObject({ outcome: 'lost' });
      expect(await ask('fd00:50::11')).toMatchObject({ outcome: 'ok' });
      expect(await ask(lab.outside.ip ?? '')).toMatchObject({ outcome: 'ok' });
      const json = await judge();
      expect(serious(json)).toEqual([
        expect.stringMatching(/^high ipv6-forward-disabled\/node-a:ipv6: .*containers on cni0 reach nothing/),
      ]);
      const cited = json.findings.find((f) => f.rule === 'ipv6-forward-disabled')?.cites.map((c) => c.text);
      expect(cited).toEqual([
        'net/ipv6/conf/all/forwarding:0',
        expect.stringContaining('inet6 fd00:10:244:1::1/64'),
        expect.stringContaining(`unicast default via ${OUTSIDE6} dev eth0`),
        expect.stringContaining('unicast fd00:50::/64 dev eth0'),
      ]);
      await lab
        .node()
        .sh(json.findings.find((f) => f.rule === 'ipv6-forward-disabled')?.remediation[0]?.run ?? 'false');
      expect(await ask(OUTSIDE6)).toMatchObject({ outcome: 'ok' });
      const after = await judge();
      expect(serious(after)).toEqual([]);
      expect(after.verdicts['ipv6-forward-disabled']).toMatchObject({ pass: 1 });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
