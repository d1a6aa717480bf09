import { describe, expect, it } from 'vitest';
import { rule as forward } from '../../../rules/forwarding/forward-drops-pod-traffic.ts';
import { rule as backends } from '../../../rules/forwarding/iptables-backends-both-active.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, dockerNode, flushed, legacyUnknown, podNode } from './nodes.ts';

/** `iptables-legacy-save` 1.8.9 of tables that somebody looked at: chains, and no rule. */
const LOOKED_AT = flushed('ACCEPT').replaceAll('v1.8.7', 'v1.8.9 (legacy)');
const dropping = LOOKED_AT.replace(':FORWARD ACCEPT', ':FORWARD DROP');
const inNat = (...rules: string[]) => flushed('ACCEPT', rules.map((r) => `${r}\n`).join(''));
const inFilter = (...rules: string[]) =>
  LOOKED_AT.replace('COMMIT\n', `${rules.map((r) => `${r}\n`).join('')}COMMIT\n`);
const beside = (legacy: string, files: Files = {}): { a: NodeFiles } => ({
  a: dockerNode(DOCKER_SAVE, [DOCKER0], {
    'host/fw/iptables-legacy-save.txt': legacy,
    'host/fw/ip_tables_names.txt': 'nat\nfilter\n',
    'host/fw/iptables-version.txt': 'iptables v1.8.9 (nf_tables)\n',
    ...files,
  }),
});
const ofNft = (save: string) => save.replaceAll(/v1\.8\.\d( \(legacy\))?/g, 'v1.8.9 (nf_tables)');
const loose = ({ a }: { a: NodeFiles }): { a: NodeFiles } => ({ a: { ...a, info: { format: 'loose-files' } } });
/** kube-proxy of both: the legacy one is left over, with an endpoint that is gone. */
const kube = (endpoint: string) =>
  [
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU',
    '-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns" -j KUBE-SEP-AAAAAAAAAAAAAAAA',
    `-A KUBE-SEP-AAAAAAAAAAAAAAAA -p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT --to-destination ${endpoint}:53`,
  ] as const;
const kubeNat = (endpoint: string) =>
  inNat(...kube(endpoint)).replace(
    ':POSTROUTING ACCEPT [0:0]\n',
    '$&:KUBE-SERVICES - [0:0]\n:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]\n:KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]\n',
  );

testRule(backends, {
  finds: {
    'what nft lets out legacy drops': {
      nodes: beside(dropping),
      expect: [
        {
          key: 'drops',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /"-A FORWARD -i docker0 ! -o docker0 -j ACCEPT" of iptables-nft lets its containers to the outside .* through, policy DROP of FORWARD of iptables-legacy drops them$/,
          cites: [':FORWARD DROP', '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT'],
        },
      ],
    },
    'Ubuntu 22.04: no header names its backend, iptables -V does': {
      nodes: {
        a: dockerNode(DOCKER_SAVE.replaceAll('v1.8.9 (nf_tables)', 'v1.8.7'), [DOCKER0], {
          'host/fw/iptables-legacy-save.txt': dropping.replaceAll('v1.8.9 (legacy)', 'v1.8.7'),
          'host/fw/ip_tables_names.txt': 'nat\nfilter\n',
          'host/fw/iptables-version.txt': 'iptables v1.8.7 (nf_tables)\n',
        }),
      },
      expect: [{ key: 'drops', severity: 'high', cites: [':FORWARD DROP', '-A FORWARD -i docker0 ! -o docker0'] }],
    },
    'by a rule, not by a policy': {
      nodes: beside(inFilter('-A FORWARD -j REJECT --reject-with icmp-host-prohibited')),
      expect: [
        {
          key: 'drops',
          severity: 'high',
          cites: ['-A FORWARD -j REJECT', '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT'],
        },
      ],
    },
    'one published port, two containers': {
      nodes: beside(inNat('-A PREROUTING -p tcp -m tcp --dport 9001 -j DNAT --to-destination 172.17.0.9:9000')),
      expect: [
        {
          key: 'nat 9001/tcp',
          severity: 'high',
          message:
            /translate 9001\/tcp: iptables-nft to 172\.17\.0\.2:9000, iptables-legacy to 172\.17\.0\.9:9000; the one registered last wins/,
          cites: ['--to-destination 172.17.0.2:9000', '--to-destination 172.17.0.9:9000'],
        },
      ],
    },
    'a service with endpoints of two times': {
      nodes: {
        a: dockerNode(ofNft(kubeNat('172.17.0.5')), [DOCKER0], {
          'host/fw/iptables-legacy-save.txt': kubeNat('172.17.0.66'),
          'host/fw/ip_tables_names.txt': 'nat\nfilter\n',
        }),
      },
      expect: [
        {
          key: 'nat 10.96.0.10:53',
          severity: 'high',
          cites: ['--to-destination 172.17.0.5:53', '--to-destination 172.17.0.66:53'],
        },
      ],
    },
    'both are there, and nothing is dropped: a firewall of its own for INPUT': {
      nodes: {
        a: dockerNode(ofNft(inFilter('-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT')), [DOCKER0], {
          'host/fw/iptables-legacy-save.txt': inFilter('-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 25 -j DROP'),
          'host/fw/ip_tables_names.txt': 'filter\n',
        }),
      },
      expect: [
        {
          key: 'both',
          severity: 'medium',
          message:
            /both backends of iptables decide in INPUT: "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT" of iptables-nft and "-A INPUT -s 10/,
          cites: ['--dport 22 -j ACCEPT', '--dport 25 -j DROP'],
        },
      ],
    },
    'the same destination in both: nothing depends on the order': {
      nodes: beside(inNat('-A PREROUTING -p tcp -m tcp --dport 9001 -j DNAT --to-destination 172.17.0.2:9000')),
      expect: [
        {
          key: 'both',
          severity: 'medium',
          cites: ['-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER', '--to-destination 172.17.0.2:9000'],
        },
      ],
    },
    'by a chain that a built-in one leads to': {
      nodes: beside(
        inFilter(
          '-A FORWARD -j OWN',
          '-A OWN -m comment --comment "x -j DROP" -j LOG',
          '-A OWN -s 203.0.113.9/32 -j DROP',
        ).replace(':OUTPUT ACCEPT [0:0]\n', '$&:OWN - [0:0]\n'),
      ),
      expect: [{ key: 'both', severity: 'medium', cites: [':FORWARD DROP', '-A FORWARD -j OWN'] }],
    },
  },
  passes: {
    'legacy tables that a look made (V19)': { nodes: beside(LOOKED_AT) },
    'canaries of the kubelet alone': {
      nodes: beside(
        `*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n`,
        { 'host/fw/ip_tables_names.txt': 'mangle\n' },
      ),
    },
    'chains that lead to nothing, rules that count': {
      nodes: beside(
        inFilter('-A FORWARD -j OWN', '-A INPUT -p tcp', '-A OWN -j RETURN', '-A OWN -j LOG').replace(
          ':OUTPUT ACCEPT [0:0]\n',
          '$&:OWN - [0:0]\n',
        ),
      ),
    },
    'at other hooks': {
      nodes: {
        a: dockerNode(ofNft(inFilter('-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT')), [DOCKER0], {
          'host/fw/iptables-legacy-save.txt': inNat('-A POSTROUTING -o eth0 -j MASQUERADE'),
          'host/fw/ip_tables_names.txt': 'nat\n',
        }),
      },
    },
    'the kernel has no table of legacy': { nodes: { a: podNode() } },
  },
  notApplicable: {
    'nobody has rules': { nodes: { a: dockerNode(flushed('ACCEPT')) } },
  },
  unknown: {
    'legacy tables exist and were not collected': {
      nodes: { a: legacyUnknown('filter\n') },
      because: /whether iptables-legacy has rules too: the iptables-legacy tables are not known/,
    },
    'the text was cut': {
      nodes: beside('', { 'host/fw/iptables-legacy-save.txt': { status: 'truncated', text: LOOKED_AT.slice(0, 60) } }),
      because: /was not collected whole/,
    },
    'an empty file that somebody sent': {
      nodes: loose(beside('', { 'host/fw/ip_tables_names.txt': { status: 'missing' } })),
      because: /is empty, which a command that failed leaves too/,
    },
  },
});

describe('the pair is the cause', () => {
  it('of what forward-drops-pod-traffic says, which hangs under it', () => {
    const result = judge([forward, backends], beside(dropping));
    expect(result.findings.map((f) => f.rule).sort()).toEqual([
      'forward-drops-pod-traffic',
      'iptables-backends-both-active',
    ]);
    const [cause, ...more] = result.causes;
    expect(more).toEqual([]);
    expect(result.findings.find((f) => f.id === cause?.finding)?.rule).toBe('iptables-backends-both-active');
  });
  it('empties what iptables does not write to, policies first', () => {
    const step = judge([backends], beside(dropping)).findings[0]?.remediation?.[2];
    expect(step?.run).toBe(
      'iptables-legacy-save > /root/iptables-legacy.rules && iptables-legacy -t filter -P FORWARD ACCEPT && iptables-legacy -t filter -F && iptables-legacy -t filter -X && iptables-legacy -t nat -F && iptables-legacy -t nat -X',
    );
    expect(step?.undo).toBe('iptables-legacy-restore < /root/iptables-legacy.rules');
    const other = beside(dropping, { 'host/fw/iptables-version.txt': 'iptables v1.8.9 (legacy)\n' });
    expect(judge([backends], other).findings[0]?.remediation?.[2]?.run).toMatch(/^iptables-nft-save/);
  });
});
