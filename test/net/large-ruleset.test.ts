import { describe, expect, it } from 'vitest';
import { clusterOf, reach } from '../../src/net/index.ts';
import { recordedNodes } from '../support/bundle-nodes.ts';

const PAD = Array.from({ length: 400 }, (_, i) => `NETCASE-PAD-${String(i).padStart(4, '0')}`);

/** The same rules in a ruleset so large that it is read otherwise: chains that nobody calls change nothing. */
function padded(_node: string, path: string, text: string): string {
  if (!/iptables(-nft|-legacy)?-save/.test(path)) return text;
  return text.replace(/^(\*(?:filter|nat)\n(?::.*\n)*)([\s\S]*?)^COMMIT$/gm, (_, head: string, rules: string) => {
    const declared = PAD.map((chain) => `:${chain} - [0:0]\n`).join('');
    return `${head}${declared}${rules}${PAD.map((chain) => `-A ${chain} -j RETURN\n`).join('')}COMMIT`;
  });
}

describe('a ruleset in which chains are looked for', () => {
  it.each(['healthy-vxlan', 'forward-drops-pod-traffic', 'egress-masquerade-missing'])(
    '%s: says what the small one says',
    async (lab) => {
      let large = 0;
      const pad: typeof padded = (node, path, text) => {
        const more = padded(node, path, text);
        if (more.length > 16 * 1024) large += 1;
        return more;
      };
      const said = (result: ReturnType<typeof reach>) =>
        JSON.stringify(
          result.groups.map(({ verdict, because, blocks, example }) => ({ verdict, because, blocks, example })),
        ).replace(/"line":\d+|"endLine":\d+|:\d+(?=[),\s"])/g, '');
      expect(said(reach(clusterOf(await recordedNodes(lab, pad))))).toBe(
        said(reach(clusterOf(await recordedNodes(lab)))),
      );
      expect(large).toBeGreaterThan(1);
    },
  );
});
