import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { RULES } from '../../../rules/index.ts';
import { rule } from '../../../rules/path/trace-pod-to-service-and-external.ts';
import type { TraceJson } from '../../../src/core/trace.ts';
import { root } from '../../support/analyse.ts';
import { bereft, edited, nodesIn, recordedNodes } from '../../support/recorded-nodes.ts';
import { judge, type NodeFiles, testRule } from '../../support/rule-table.ts';

const [vxlan, hostGw, legacy, docker, noMasquerade, noNft, noForward] = await Promise.all(
  [
    'healthy-vxlan',
    'healthy-host-gw',
    'healthy-legacy',
    'healthy-docker',
    'egress-masquerade-missing',
    'bundle-incomplete',
    'ip-forward-disabled',
  ].map(recordedNodes),
);
type Nodes = Readonly<Record<string, NodeFiles>>;
const SAVE = 'host/fw/iptables-save.txt';
const RAW_DROP = '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i cni0 -j DROP\nCOMMIT\n';
const only = (nodes: Nodes, ...ids: string[]): Nodes =>
  Object.fromEntries(Object.entries(nodes).filter(([id]) => ids.includes(id)));

/** kube-proxy's chains of cluster DNS with these backends, on every node. */
function withDns(nodes: Nodes, ...backends: string[]): Nodes {
  const why = '-m comment --comment "kube-system/kube-dns:dns cluster IP"';
  const seps = backends.map((b, i) => {
    const name = `KUBE-SEP-DNSDNSDNSDNSDN${i}A`;
    const p = (1 / (backends.length - i)).toFixed(11);
    const chance = i === backends.length - 1 ? '' : `-m statistic --mode random --probability ${p} `;
    return {
      name,
      jump: `-A KUBE-SVC-TCOU7JCQXEZGVUNU ${chance}-j ${name}`,
      rules: [`-A ${name} -s ${b}/32 -j KUBE-MARK-MASQ`, `-A ${name} -p udp -m udp -j DNAT --to-destination ${b}:53`],
    };
  });
  return Object.keys(nodes).reduce(
    (all, node) =>
      edited(all, node, SAVE, (t) =>
        t
          .replace(
            /^:KUBE-SERVICES - .*\n(?=:KUBE-SVC)/m,
            (l) => `${l}:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]\n${seps.map((s) => `:${s.name} - [0:0]\n`).join('')}`,
          )
          .replace(
            /^.*-A KUBE-SERVICES -d 10\.96\.0\.1\/32.*\n/m,
            `$&-A KUBE-SERVICES -d 10.96.0.10/32 -p udp ${why} -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU\n${seps.map((s) => `${s.jump}\n${s.rules.join('\n')}\n`).join('')}`,
          ),
      ),
    nodes,
  );
}
/** No endpoint is ready: kube-proxy refuses. */
const noEndpoints = (nodes: Nodes) =>
  Object.keys(nodes).reduce(
    (all, node) =>
      edited(all, node, SAVE, (t) =>
        t
          .replace(
            /^.*-A KUBE-FIREWALL !.*\n/m,
            '$&-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https has no endpoints" -m tcp --dport 443 -j REJECT --reject-with icmp-port-unreachable\n',
          )
          .replace(/^.*-[Aj] KUBE-SVC-4L46GLPRMFMHJ6HY(?: .*)?\n/gm, ''),
      ),
    nodes,
  );

testRule(rule, {
  finds: {
    'the node itself does not reach the API: its route is asked before kube-proxy’s rules, those of pods after': {
      nodes: edited(
        legacy!,
        'node-a',
        'host/ip/route4.txt',
        (t) => `blackhole 10.96.0.0/12 table main proto boot scope global \n${t}`,
      ),
      expect: [
        {
          severity: 'high',
          confidence: 'proven',
          nodes: ['node-a'],
          message:
            /^node-a cannot reach default\/kubernetes:https \(10\.96\.0\.1:443\/tcp\), which flanneld .*the route to 10\.96\.0\.1 is blackhole/,
          cites: ['blackhole 10.96.0.0/12'],
        },
      ],
    },
    'what the node sends to its own pods is dropped, as the kubelet’s probes are': {
      nodes: edited(only(hostGw!, 'node-a'), 'node-a', SAVE, (t) => t.replace(':OUTPUT ACCEPT', ':OUTPUT DROP')),
      expect: [
        {
          severity: 'high',
          nodes: ['node-a'],
          message:
            /^node-a cannot reach 10\.244\.1\.10, a pod of its own, as the kubelet’s probes have to: dropped on node-a at filter\/OUTPUT/,
          cites: [':OUTPUT DROP'],
        },
      ],
    },
    'nothing is forwarded: no way out': {
      nodes: noForward!,
      expect: [
        {
          severity: 'high',
          nodes: ['node-a'],
          message: /10\.244\.1\.10 on node-a cannot reach 198\.41\.0\.4.*dropped on node-a at forwarding/,
          cites: ['net/ipv4/conf/cni0/forwarding:0'],
        },
      ],
    },
    'one of two DNS backends does not exist: half of all connections': {
      nodes: withDns(legacy!, '10.244.2.10', '10.244.2.99'),
      expect: [
        {
          key: 'neighbour cni0: nobody answers for IP on cni0',
          message:
            /cannot reach kube-system\/kube-dns:dns \(10\.96\.0\.10:53\/udp\) with 50 % of new connections: dropped on node-b/,
          cites: ['inet 10.244.2.1/24', 'absent: a neighbour 10.244.2.99 on cni0'],
        },
      ],
    },
    'a drop in front of one service': {
      nodes: edited(withDns(legacy!, '10.244.2.10'), 'node-a', SAVE, (t) =>
        t.replace(/^.*-A FORWARD -m/m, '-A FORWARD -p udp -m udp --dport 53 -j DROP\n$&'),
      ),
      expect: [{ nodes: ['node-a'], message: /kube-dns/, cites: ['-A FORWARD -p udp -m udp --dport 53 -j DROP'] }],
      answers: { 'node-b': 'pass' },
    },
    'the API has no endpoints': {
      nodes: noEndpoints(legacy!),
      expect: [
        { nodes: ['node-a'], message: /default\/kubernetes:https/, cites: ['has no endpoints'] },
        { nodes: ['node-b'], message: /default\/kubernetes:https/, cites: ['has no endpoints'] },
      ],
    },
    'cluster DNS has no backend any more: kube-proxy has it in the filter table alone': {
      nodes: Object.keys(legacy!).reduce(
        (all, node) =>
          edited(all, node, SAVE, (t) =>
            t.replace(
              /^.*-A KUBE-FIREWALL !.*\n/m,
              '$&-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns has no endpoints" -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable\n',
            ),
          ),
        legacy!,
      ),
      expect: [
        {
          nodes: ['node-a'],
          message: /kube-system\/kube-dns:dns \(10\.96\.0\.10:53\/udp\)/,
          cites: ['has no endpoints'],
        },
        { nodes: ['node-b'], message: /kube-system\/kube-dns:dns/, cites: ['has no endpoints'] },
      ],
    },
    'docker’s rule that lets a published port in is gone': {
      nodes: edited(docker!, 'docker-host', SAVE, (t) => t.replace(/^.*-A DOCKER -d .* -j ACCEPT\n/m, '')),
      expect: [
        {
          severity: 'high',
          message:
            /^198\.41\.0\.4, which stands for clients outside, cannot reach the published port .*:9001\/tcp of web: dropped on docker-host at filter\/FORWARD: policy DROP/,
          cites: [':FORWARD DROP'],
        },
      ],
    },
    'a published port that the node’s INPUT refuses to itself': {
      nodes: edited(docker!, 'docker-host', SAVE, (t) =>
        t
          .replace(
            'COMMIT',
            '-A INPUT -p tcp -m tcp --dport 9001 -j REJECT --reject-with icmp-port-unreachable\nCOMMIT',
          )
          .replace(/^.*-A OUTPUT ! -d 127.*\n/m, ''),
      ),
      expect: [
        {
          nodes: ['docker-host'],
          severity: 'medium',
          message: /docker-host cannot reach the published port 10\.3\.20\.87:9001\/tcp of web/,
          cites: ['--dport 9001 -j REJECT'],
        },
      ],
    },
    'dockerd keeps a published port that nothing translates': {
      nodes: edited(
        edited(docker!, 'docker-host', 'host/sock/ss-listen.txt', (t) => t.replaceAll('"docker-proxy"', '"dockerd"')),
        'docker-host',
        'host/fw/iptables-save.txt',
        (t) => t.replace(/^.*-j DNAT.*\n/gm, ''),
      ),
      expect: [
        {
          message: /dockerd only keeps tcp\/9001 of docker-host for a container that publishes it/,
          cites: ['dockerd'],
        },
      ],
    },
  },
  passes: {
    'a healthy cluster': { nodes: vxlan! },
    'the API by kube-proxy, iptables-legacy': { nodes: legacy! },
    'DNS with a backend on each node': { nodes: withDns(legacy!, '10.244.1.10', '10.244.2.10') },
    'a docker host with a published port': { nodes: docker! },
    'a rule that keeps strangers out': {
      nodes: edited(docker!, 'docker-host', SAVE, (t) =>
        t.replace(
          /^(?:\[\d+:\d+\] )?-A FORWARD /m,
          '-A FORWARD ! -s 10.3.20.0/24 -i eth0 -o docker0 -m conntrack --ctstate NEW -j DROP\n$&',
        ),
      ),
    },
  },
  notApplicable: {
    'what is outside is not in the evidence': { nodes: only(noMasquerade!, 'node-a') },
    'a node without a default route wants nothing outside': {
      nodes: edited(noForward!, 'node-a', 'host/ip/route4.txt', (t) => t.replace(/^.*default via.*\n/m, '')),
      answers: { 'node-b': 'pass' },
    },
    'no container': { nodes: bereftOfContainers(docker!) },
  },
  unknown: {
    'native tables were not collected': {
      nodes: only(noNft!, 'node-a'),
      because: /native nft tables are not known/,
    },
    'the pods’ namespaces were not collected': {
      nodes: only(
        bereft(vxlan!, 'node-b', (p) => p.startsWith('netns/')),
        'node-b',
      ),
      because: /namespaces of the pods on cni0 were not collected/,
    },
    'a service that this node’s rules do not know leaves untranslated': {
      nodes: {
        ...withDns(only(legacy!, 'node-a'), '10.244.2.10'),
        ...only(legacy!, 'node-b'),
      },
      answers: { 'node-a': 'pass' },
      because: /kube-dns:dns/,
    },
  },
});

function bereftOfContainers(nodes: Nodes): Nodes {
  return bereft(nodes, 'docker-host', (p) => p.startsWith('netns/') || p === 'docker/containers.jsonl');
}

describe('trace-pod-to-service-and-external beside other rules', () => {
  it('carries the traced packet with its branches', () => {
    const [found] = judge([rule], withDns(legacy!, '10.244.2.10', '10.244.2.99')).findings;
    const trace = found?.trace as TraceJson;
    expect(trace.branches?.map((b) => [b.probability, b.verdict])).toEqual(
      expect.arrayContaining([
        [0.5, 'delivered'],
        [0.5, 'dropped'],
      ]),
    );
  });

  it.each(['ip-forward-disabled', 'forward-drops-pod-traffic', 'bridge-address-not-in-lease', 'demo'])(
    '%s: never a second cause',
    async (name) => {
      const { causes, findings } = judge(RULES, await recordedNodes(name));
      expect(findings.some((f) => f.rule === rule.id)).toBe(true);
      expect(causes.filter((c) => c.finding.startsWith('trace-')).map((c) => c.finding)).toEqual([]);
    },
  );

  it('that the API has no endpoints is the cause of what a pod cannot reach', () => {
    const { causes } = judge(RULES, noEndpoints(legacy!));
    expect(causes.map((c) => c.finding.split('/')[0])).toEqual(['service-has-no-endpoints']);
    expect(causes[0]?.explains.map((id) => id.split('/')[0])).toEqual([rule.id, rule.id]);
  });
});

describe('trace-pod-to-service-and-external in a cluster of 22 nodes', () => {
  let fleet: Nodes;
  beforeAll(async () => {
    const out = mkdtempSync(join(tmpdir(), 'nc-22-'));
    const args = ['--preset', 'tiny', '--nodes', '22', '--services', '40', '--drift', '0', '--out', out];
    execFileSync(process.execPath, [join(root, 'bench/fleet.mjs'), ...args]);
    fleet = await nodesIn(out);
    rmSync(out, { recursive: true });
  }, 60_000);
  const DNS = 'KUBE-SVC-TCOU7JCQXEZGVUNU';
  /** Cluster DNS by these backends. */
  const manyDns = (nodes: Nodes, backends: readonly string[]) =>
    Object.keys(nodes).reduce(
      (all, node) =>
        edited(all, node, SAVE, (t) => {
          const seps = backends.map((b, i) => {
            const name = `KUBE-SEP-MANYMANYMANYM${String(i).padStart(3, 'A')}`;
            const p = (1 / (backends.length - i)).toFixed(11);
            const chance = i === backends.length - 1 ? '' : `-m statistic --mode random --probability ${p} `;
            return {
              chain: `:${name} - [0:0]\n`,
              jump: `-A ${DNS} ${chance}-j ${name}\n`,
              rules: `-A ${name} -s ${b}/32 -j KUBE-MARK-MASQ\n-A ${name} -p udp -m udp -j DNAT --to-destination ${b}:53\n`,
            };
          });
          return t
            .replace(new RegExp(`^:${DNS} .*\n`, 'm'), (l) => l + seps.map((x) => x.chain).join(''))
            .replace(new RegExp(`^.*-A ${DNS} .*-j KUBE-SEP-.*\n`, 'gm'), '')
            .replace(
              new RegExp(`^.*-A ${DNS} .*-j KUBE-MARK-MASQ\n`, 'm'),
              (l) => l + seps.map((x) => x.jump + x.rules).join(''),
            );
        }),
      nodes,
    );
  /** The first pod of each node. */
  const pods = Array.from({ length: 22 }, (_, i) => `10.244.${i}.2`);
  const answersOf = (nodes: Nodes) => {
    const { matrix, findings } = judge([rule], nodes);
    return { row: matrix[rule.id] ?? {}, findings };
  };

  it('passes where every node asked for everything', () => {
    const { row, findings } = answersOf(fleet);
    expect(findings.map((f) => f.message)).toEqual([]);
    expect(Object.keys(row)).toHaveLength(22);
    expect(new Set(Object.values(row))).toEqual(new Set(['pass']));
  });

  it('finds what the last node of the ring drops', () => {
    const [last] = Object.keys(fleet).slice(-1);
    const { row, findings } = answersOf(edited(fleet, last!, SAVE, (t) => RAW_DROP + t));
    expect(findings.map((f) => f.nodes[0])).toEqual([last]);
    expect(findings[0]?.cites).toHaveProperty('0.excerpt.text', '-A PREROUTING -i cni0 -j DROP');
    expect(Object.values(row).filter((a) => a === 'pass')).toHaveLength(21);
  });

  it('follows no packets between more than 60 nodes, and says so', () => {
    const [one] = Object.values(fleet);
    const many = Object.fromEntries(Array.from({ length: 61 }, (_, i): [string, NodeFiles] => [`node-${i}`, one!]));
    const { row, findings } = answersOf(many);
    expect(findings).toEqual([]);
    expect(new Set(Object.values(row))).toEqual(new Set(['not-applicable']));
  });

  it('does not pass a node that the sample did not ask', () => {
    const { row, findings } = answersOf(manyDns(fleet, pods));
    expect(findings.map((f) => f.message)).toEqual([]);
    const passed = Object.entries(row).flatMap(([node, answer]) => (answer === 'pass' ? [Number(node.slice(-2))] : []));
    // 22 backends, four a node: every sixth
    expect(passed).toEqual([0, 6, 12, 18]);
    expect(Object.values(row).filter((a) => a === 'not-applicable')).toHaveLength(18);
  });

  it('finds the backend that does not exist from the nodes that were asked', () => {
    const { findings } = answersOf(manyDns(fleet, [...pods.slice(1), '10.244.3.250']));
    expect(findings.map((f) => f.message)).toEqual([
      expect.stringMatching(/kube-dns:dns .* with 4\.\d % of new connections: .*3 more paths end there/),
    ]);
  });
});
