import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/bridge/bridge-netfilter-drops-same-bridge.ts';
import { rule as missing } from '../../../rules/docker/docker-rules-missing.ts';
import { rule as forwardDrops } from '../../../rules/forwarding/forward-drops-pod-traffic.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, type DockerNetworkSpec, dockerNode, flushed, nft } from '../forwarding/nodes.ts';

const container = (name: string, ip: string) =>
  `${JSON.stringify({ Id: name.padEnd(64, '0'), Name: `/${name}`, State: { Pid: 42, Status: 'running' }, NetworkSettings: { Ports: {}, Networks: { bridge: { IPAddress: ip } } } })}\n`;
const CONTAINERS = { 'docker/containers.jsonl': container('c1', '172.17.0.2') + container('c2', '172.17.0.3') };

/** docker0 with two containers. */
const node = (save: string, files: Files = {}, network: DockerNetworkSpec = DOCKER0): { a: NodeFiles } => {
  const { files: one } = dockerNode(save, [network], {});
  const text = (path: string) => one[path] as string;
  return {
    a: {
      files: {
        ...one,
        'host/ip/addr.txt': `${text('host/ip/addr.txt')}21: vethb@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master docker0 state UP group default 
    link/ether 7a:f3:b1:8a:e5:77 brd ff:ff:ff:ff:ff:ff link-netnsid 2
`,
        'host/bridge/brctl-show.txt': `${text('host/bridge/brctl-show.txt')}\t\t\t\t\t\t\tvethb\n`,
        ...CONTAINERS,
        ...files,
      },
    },
  };
};
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});
const sysctl = (text: string) => ({ 'host/sys/sysctl.txt': text });
const ON = 'net/bridge/bridge-nf-call-iptables:1';
const ACCEPTS = '[0:0] -A FORWARD -i docker0 -o docker0 -j ACCEPT\n';
const REJECT = '[0:0] -A FORWARD -j REJECT --reject-with icmp-host-prohibited\n';
/** The accept for what stays on docker0 is gone. */
const BARE = DOCKER_SAVE.replace(ACCEPTS, '');
/** Appended by hand before dockerd came, as RHEL's iptables.service has it: nothing behind it counts. */
const REJECTED = DOCKER_SAVE.replace(ACCEPTS, `[0:0] -A FORWARD -p icmp -j ACCEPT\n${REJECT}${ACCEPTS}`);
const ICC = { 'com.docker.network.bridge.enable_icc': 'false' };
const APART = DOCKER_SAVE.replace(ACCEPTS, '[0:0] -A FORWARD -i docker0 -o docker0 -j DROP\n');
const meta = (key: string, right: string) => ({ match: { op: '==', left: { meta: { key } }, right } });
const GUARD = nft(
  { table: { family: 'inet', name: 'guard', handle: 7 } },
  {
    chain: {
      family: 'inet',
      table: 'guard',
      name: 'fwd',
      handle: 1,
      type: 'filter',
      hook: 'forward',
      prio: 10,
      policy: 'drop',
    },
  },
  {
    rule: {
      family: 'inet',
      table: 'guard',
      chain: 'fwd',
      handle: 2,
      expr: [meta('oifname', 'eth0'), { accept: null }],
    },
  },
  {
    rule: {
      family: 'inet',
      table: 'guard',
      chain: 'fwd',
      handle: 3,
      expr: [meta('iifname', 'eth0'), { accept: null }],
    },
  },
);

testRule(rule, {
  finds: {
    'the policy drops what no rule accepts': {
      nodes: node(BARE),
      expect: [
        {
          key: 'docker0 policy DROP of FORWARD in filter/FORWARD',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^Containers of docker0 on a cannot talk to each other \(172\.17\.0\.2 -> 172\.17\.0\.3\): bridge netfilter shows their frames to iptables, and policy DROP of FORWARD in filter\/FORWARD drops them$/,
          cites: [':FORWARD DROP', ON, 'docker0: <BROADCAST'],
        },
      ],
    },
    'a REJECT in front of Docker’s rule': {
      nodes: node(REJECTED),
      expect: [{ severity: 'high', cites: ['-A FORWARD -j REJECT', ON, 'docker0: <BROADCAST'] }],
    },
    'a native table': {
      nodes: node(DOCKER_SAVE, { 'host/fw/nft.json': GUARD }),
      expect: [{ severity: 'high', message: /nft inet guard fwd/, cites: ['"name":"fwd"', ON, 'docker0: <BROADCAST'] }],
    },
    'somebody’s own rule for it': {
      nodes: node(APART),
      expect: [
        {
          severity: 'low',
          message: /by a rule that is for this$/,
          cites: ['-A FORWARD -i docker0 -o docker0 -j DROP', ON, 'docker0: <BROADCAST'],
        },
      ],
    },
  },
  passes: {
    'Docker accepts it': { nodes: node(DOCKER_SAVE) },
    'a rule for whatever is bridged (libvirt’s advice)': {
      nodes: node(
        BARE.replace(
          '[0:0] -A FORWARD -j DOCKER-USER',
          `[0:0] -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n$&`,
        ),
      ),
    },
    'one port is dropped': {
      nodes: node(
        DOCKER_SAVE.replace(
          ACCEPTS,
          `[0:0] -A FORWARD -i docker0 -o docker0 -p tcp -m tcp --dport 443 -j DROP\n${ACCEPTS}`,
        ),
      ),
    },
    'the switch is not known, and it is accepted anyway': { nodes: without(node(DOCKER_SAVE), 'host/sys/sysctl.txt') },
  },
  notApplicable: {
    'frames pass iptables by': { nodes: node(BARE, sysctl('net/bridge/bridge-nf-call-iptables:0\n')) },
    'br_netfilter is not loaded': { nodes: node(BARE, sysctl('net/ipv4/ip_forward:1\n')) },
    'icc=false': { nodes: node(APART, {}, { ...DOCKER0, options: ICC }) },
    'a bridge with one container': { nodes: { a: dockerNode(BARE) } },
  },
  unknown: {
    'the switch was not collected': {
      nodes: without(node(BARE), 'host/sys/sysctl.txt'),
      because:
        /policy DROP of FORWARD drops them if net\.bridge\.bridge-nf-call-iptables is on, which was not collected/,
    },
    'the module is there, its switch is not (kernels before 5.3)': {
      nodes: node(BARE, {
        ...sysctl('net/ipv4/ip_forward:1\n'),
        'host/sys/modules.txt': 'br_netfilter 32768 0 - Live 0x0000000000000000\n',
      }),
      because: /drops them if/,
    },
    'nobody knows the containers’ addresses': {
      nodes: without(node(BARE), 'docker/containers.jsonl'),
      because: /addresses of two of them were not collected/,
    },
    'whether icc=false was meant was not collected': {
      nodes: without(node(APART), 'docker/network-inspect.json'),
      because: /keeps them apart, which docker does where it was told icc=false/,
    },
    'the native tables were not collected': {
      nodes: node(DOCKER_SAVE, { 'host/fw/nft.json': { status: 'missing', reason: 'tool not found in PATH' } }),
      because: /the native nft tables are not known/,
    },
  },
});

describe('causes and cures', () => {
  it('accepts what stays on the bridge, in the ruleset that drops it', () => {
    const [first] = judge([rule], node(REJECTED)).findings[0]?.remediation ?? [];
    expect(first).toMatchObject({
      run: 'iptables -I FORWARD -i docker0 -o docker0 -j ACCEPT',
      undo: 'iptables -D FORWARD -i docker0 -o docker0 -j ACCEPT',
    });
    const [native] = judge([rule], node(DOCKER_SAVE, { 'host/fw/nft.json': GUARD })).findings[0]?.remediation ?? [];
    expect(native?.run).toBe(
      'nft insert rule inet guard fwd iifname docker0 oifname docker0 accept comment \\"netcase\\"',
    );
  });
  it('hangs under what emptied the table, or drops all that containers send', () => {
    const dockerd = {
      'cmdline/dockerd.txt': '/usr/bin/dockerd\n',
      'files/etc/docker/daemon.json': { status: 'absent' },
    } as const;
    const { causes, findings } = judge([rule, missing, forwardDrops], node(flushed('DROP'), dockerd));
    const mine = findings.find((f) => f.rule === rule.id);
    expect(mine?.severity).toBe('high');
    expect(causes.map((c) => findings.find((f) => f.id === c.finding)?.rule)).not.toContain(rule.id);
    expect(causes.flatMap((c) => c.explains)).toContain(mine?.id);
  });
});
