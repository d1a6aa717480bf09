import { expect, it } from 'vitest';
import { rule } from '../../../rules/addressing/duplicate-pod-address.ts';
import { RULES } from '../../../rules/index.ts';
import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { podAddr } from '../forwarding/nodes.ts';

const UP = '<BROADCAST,MULTICAST,UP,LOWER_UP>';

/** `ip -j addr` of a pod whose cable is the node's device `outer`. */
const inner = (ip: string, outer: number): string => podAddr(ip).replace('"link_index":5', `"link_index":${outer}`);

interface Change {
  readonly n?: number;
  /** Lines of `ip addr` behind those of the first pod, from device 6 on. */
  readonly more?: string;
  readonly files?: NodeFiles['files'];
  readonly info?: NodeFiles['info'];
  readonly peers?: readonly number[];
  readonly subnet?: number;
}

/** A flannel node with one pod on veth1, and whatever else. */
function node({ n = 1, more = '', files = {}, info = {}, peers = [3 - n], subnet = n }: Change = {}): NodeFiles {
  const bare = overlayNode({ n, peers, subnet }).files;
  return {
    files: {
      ...bare,
      'host/ip/addr.txt': `${bare['host/ip/addr.txt']}${more}`,
      'netns/4026532001/addr.json': podAddr(`10.244.${subnet}.10`),
      ...files,
    },
    info,
  };
}

const VETH2 = `6: veth2@if2: ${UP} mtu 1450 qdisc noqueue master cni0 state UP group default qlen 1000
    link/ether 02:00:00:00:01:12 brd ff:ff:ff:ff:ff:ff link-netnsid 2
`;
const LOCAL = '"local":"10.244.1.10"';
const second = (text: string) =>
  text.replace(
    ',"valid_life_time":4294967295,"preferred_life_time":4294967295}]',
    ',"valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet","local":"10.244.1.99","prefixlen":24,"scope":"global","secondary":true,"label":"eth0","valid_life_time":4294967295,"preferred_life_time":4294967295}]',
  );
const CALI = (
  name: string,
  ifindex: number,
) => `${ifindex}: ${name}@if2: ${UP} mtu 1450 qdisc noqueue state UP group default qlen 1000
    link/ether ee:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 2
`;

testRule(rule, {
  finds: {
    'two pods on one bridge': {
      nodes: { a: node({ more: VETH2, files: { 'netns/4026532002/addr.json': inner('10.244.1.10', 6) } }) },
      expect: [
        {
          key: '10.244.1.10',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^10\.244\.1\.10 is the address of 2 containers of a \(netns\/4026532001, netns\/4026532002\), both on cni0$/,
          cites: [LOCAL, LOCAL, '5: veth1@if2', '6: veth2@if2'],
        },
      ],
    },
    'one of the two has no process any more': {
      nodes: {
        a: node({
          more: VETH2,
          files: {
            'netns/4026532002/addr.json': inner('10.244.1.10', 6),
            'netns/index.txt': `4026531840 1 systemd - -\n4026532001 812 pause ${'a'.repeat(64)} /run/netns/cni-1\n4026532002 - - - /run/netns/cni-2\n`,
          },
        }),
      },
      expect: [
        {
          confidence: 'proven',
          message: /both on cni0; no process is left in netns\/4026532002$/,
          cites: [LOCAL, LOCAL, '5: veth1@if2', '6: veth2@if2'],
        },
      ],
    },
    'a pod has the address of its gateway': {
      nodes: { a: node({ files: { 'netns/4026532001/addr.json': podAddr('10.244.1.1') } }) },
      expect: [
        {
          key: '10.244.1.1 gateway',
          confidence: 'proven',
          message: /^10\.244\.1\.1 is the address of cni0 on a and of a container on it/,
          cites: ['"local":"10.244.1.1"', 'inet 10.244.1.1/24 scope global cni0'],
        },
      ],
    },
    'a pod on the bridge of before, and one with a host route': {
      nodes: {
        a: node({
          more: CALI('cali0a1b2c3d4e5', 6),
          files: {
            'netns/4026532002/addr.json': inner('10.244.1.10', 6),
            'host/ip/route4.txt': `${node().files['host/ip/route4.txt']}unicast 10.244.1.10 dev cali0a1b2c3d4e5 proto boot scope link \n`,
          },
        }),
      },
      expect: [
        {
          confidence: 'likely',
          message: /by cni0 and by cali0a1b2c3d4e5$/,
          cites: [LOCAL, LOCAL, '5: veth1@if2', '6: cali0a1b2c3d4e5@if2'],
        },
      ],
    },
    'a pod of another node’s subnet stayed behind': {
      nodes: {
        a: node(),
        b: node({ n: 2, more: VETH2, files: { 'netns/4026532002/addr.json': inner('10.244.1.10', 6) } }),
      },
      expect: [
        {
          key: '10.244.1.10',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a', 'b'],
          message: /^a and b both have a pod with 10\.244\.1\.10; it is not of the pod subnet that b has now$/,
          cites: [LOCAL, LOCAL, 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
    'the same, two hours apart': {
      nodes: {
        a: node({ info: { collectedAt: '2026-11-24T08:00:00.000Z' } }),
        b: node({ n: 2, more: VETH2, files: { 'netns/4026532002/addr.json': inner('10.244.1.10', 6) } }),
      },
      expect: [
        {
          severity: 'medium',
          confidence: 'possible',
          message: /more than an hour apart/,
          cites: [LOCAL, LOCAL, 'FLANNEL_SUBNET=10.244.2.1/24'],
        },
      ],
    },
  },
  passes: {
    'two nodes, three pods': {
      nodes: {
        a: node({ more: VETH2, files: { 'netns/4026532002/addr.json': inner('10.244.1.11', 6) } }),
        b: node({ n: 2 }),
      },
    },
    'containers in a container: all of them have its docker0, and the nested ones lead elsewhere': {
      nodes: {
        a: node({
          more: VETH2,
          files: {
            'netns/4026532002/addr.json': inner('10.244.1.11', 6).replace(
              /\]\n$/,
              ',{"ifindex":3,"ifname":"docker0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"operstate":"UP","link_type":"ether","address":"02:42:00:00:00:01","linkinfo":{"info_kind":"bridge"},"addr_info":[{"family":"inet","local":"172.17.0.1","prefixlen":16,"scope":"global","label":"docker0"}]}]\n',
            ),
            'netns/4026532003/addr.json': inner('10.244.1.10', 77),
          },
        }),
      },
    },
    'the default networks of docker on two nodes': {
      nodes: {
        a: node({ files: { 'netns/4026532001/addr.json': podAddr('172.17.0.2') } }),
        b: node({ n: 2, files: { 'netns/4026532001/addr.json': podAddr('172.17.0.2') } }),
      },
    },
    'two clusters of the same range': {
      nodes: {
        a: node({ peers: [3] }),
        b: node({ n: 2, subnet: 1, peers: [4], files: { 'netns/4026532001/addr.json': podAddr('10.244.1.10') } }),
      },
    },
    'one machine collected twice': {
      nodes: {
        a: node({ info: { machineIdSha256: 'm', bootId: 'x' } }),
        again: node({ info: { machineIdSha256: 'm', bootId: 'x' } }),
      },
    },
    'the cable of the other one is down': {
      nodes: {
        a: node({
          more: VETH2.replace(UP, '<BROADCAST,MULTICAST>'),
          files: { 'netns/4026532002/addr.json': inner('10.244.1.10', 6) },
        }),
      },
    },
  },
  notApplicable: {
    'no container': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': `2: eth0: ${UP} mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.50.11/24 scope global eth0
       valid_lft forever preferred_lft forever
`,
          },
        },
      },
    },
    'a docker host with one container, whose namespace was not collected': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': `3: docker0: ${UP} mtu 1500 qdisc noqueue state UP group default
    link/ether 02:42:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 172.17.0.1/16 scope global docker0
       valid_lft forever preferred_lft forever
5: veth1@if4: ${UP} mtu 1500 qdisc noqueue master docker0 state UP group default
    link/ether 02:00:00:00:01:01 brd ff:ff:ff:ff:ff:ff link-netnsid 0
`,
          },
        },
      },
    },
    'ports of Open vSwitch, whose networks are apart': {
      nodes: {
        a: {
          files: {
            'host/ip/addr.txt': [5, 6]
              .map(
                (
                  i,
                ) => `${i}: qvo${i}@if2: ${UP} mtu 1450 qdisc noqueue master ovs-system state UP group default qlen 1000
    link/ether 02:00:00:00:01:1${i} brd ff:ff:ff:ff:ff:ff link-netnsid ${i}
`,
              )
              .join(''),
            'netns/4026532001/addr.json': inner('10.0.0.5', 5),
            'netns/4026532002/addr.json': inner('10.0.0.5', 6),
          },
        },
      },
    },
  },
  unknown: {
    'the namespace behind a port was not collected': {
      nodes: { a: node({ more: VETH2 }) },
      because: /the addresses of what veth2 lead to: no namespace/,
    },
    'a second address on each: perhaps a virtual one': {
      nodes: {
        a: node({
          more: VETH2,
          files: {
            'netns/4026532001/addr.json': second(podAddr('10.244.1.10')),
            'netns/4026532002/addr.json': second(inner('10.244.1.11', 6)),
          },
        }),
      },
      because: /^10\.244\.1\.99 is an address of two containers .* which may be virtual/,
    },
    'one machine without a machine-id collected twice': {
      nodes: {
        a: node({ info: { machineIdSha256: null } }),
        again: node({ info: { machineIdSha256: null } }),
      },
      because: /one machine collected twice/,
    },
    'nothing ties the nodes to clusters': {
      nodes: {
        a: node({ files: { 'host/bridge/fdb.txt': { status: 'failed' }, 'host/ip/route4.txt': { status: 'failed' } } }),
        b: node({
          n: 2,
          files: { 'host/bridge/fdb.txt': { status: 'failed' }, 'host/ip/route4.txt': { status: 'failed' } },
        }),
      },
      because: /which other nodes are of its cluster is not known/,
    },
  },
});

it('the namespace without a process is what its remedy takes off the network', () => {
  const { findings } = judge([rule], {
    a: node({
      more: VETH2,
      files: {
        'netns/4026532002/addr.json': inner('10.244.1.10', 6),
        'netns/index.txt': '4026532001 812 pause - /run/netns/cni-1\n4026532002 - - - /run/netns/cni-2\n',
      },
    }),
  });
  expect(findings[0]?.remediation?.[0]?.run).toBe('ip link set veth2 down   # on a');
});

it('a subnet that two nodes own is the cause', () => {
  const { causes, findings } = judge(RULES, {
    a: node({ peers: [3] }),
    b: node({ n: 2, subnet: 1, peers: [3] }),
  });
  expect(findings.map((f) => f.rule)).toContain('duplicate-pod-address');
  expect(causes[0]?.finding).toMatch(/^pod-cidr-duplicate/);
  expect(causes[0]?.explains.some((id) => id.startsWith('duplicate-pod-address'))).toBe(true);
});

it('a digest stays small with many pods and many peers', () => {
  const many = Array.from({ length: 200 }, (_, i) => i + 10);
  const lines = many.map((i) => VETH2.replace('6: veth2', `${i}: vethx${i}`));
  const pods = many.map((i) => [`netns/40265330${i}/addr.json`, inner(`10.244.1.${i}`, i)]);
  const { files } = node({ more: lines.join(''), files: Object.fromEntries(pods) });
  const peers = Array.from(
    { length: 500 },
    (_, i) => `0e:00:00:00:01:${i} dev flannel.1 dst 10.1.${i >> 8}.${i & 255} self permanent\n`,
  );
  const seen: number[] = [];
  const spy = {
    ...rule,
    extract: (view: Parameters<typeof rule.extract>[0]) => {
      const digest = rule.extract(view);
      seen.push(JSON.stringify(digest).length);
      return digest;
    },
  };
  judge([spy], { a: { files: { ...files, 'host/bridge/fdb.txt': peers.join('') } } });
  expect(seen[0]).toBeLessThan(1200);
});
