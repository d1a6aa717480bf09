import { expect, it } from 'vitest';
import { rule } from '../../../rules/cni/cni-config-shadowed.ts';
import { rule as notReady } from '../../../rules/cni/cni-not-ready.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { ALL, CONTAINERD_NET, CONTAINERD_TOML, cniNode, crictlInfo } from './nodes.ts';

const STRANGER = { 'files/etc/cni/net.d/10-containerd-net.conflist': CONTAINERD_NET };
const CRIO_BRIDGE =
  '{\n  "cniVersion": "1.0.0",\n  "name": "crio",\n  "plugins": [\n    {\n      "type": "bridge",\n      "bridge": "cni0",\n      "isGateway": true,\n      "ipMasq": true,\n      "hairpinMode": true,\n      "ipam": {\n        "type": "host-local",\n        "routes": [\n            { "dst": "0.0.0.0/0" }\n        ],\n        "ranges": [\n            [{ "subnet": "10.85.0.0/16" }]\n        ]\n      }\n    }\n  ]\n}\n';
const CRIO = '/usr/bin/kubelet\n--container-runtime-endpoint=unix:///var/run/crio/crio.sock\n';
const lease = (network: string, ip: string) =>
  `/var/lib/cni/networks/${network}/${ip}:5d0c\r\n/var/lib/cni/networks/${network}/${ip}:eth0\n`;
const LO =
  '1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n';
const device = (index: number, name: string, inet?: string) =>
  `${index}: ${name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP group default qlen 1000\n    link/ether 0a:58:0a:f4:01:01 brd ff:ff:ff:ff:ff:ff\n${inet === undefined ? '' : `    inet ${inet} scope global ${name}\n       valid_lft forever preferred_lft forever\n`}`;
const CALICO =
  '{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[{"type":"calico","ipam":{"type":"calico-ipam"}}]}\n';

testRule(rule, {
  finds: {
    'containerd’s sample comes before flannel’s (incident 03)': {
      nodes: { a: cniNode({ ...STRANGER, 'cni/ipam.txt': lease('containerd-net', '10.88.0.2') }) },
      expect: [
        {
          key: '10-containerd-net.conflist before 10-flannel.conflist',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^Pods of a get the network of 10-containerd-net\.conflist \(plugin bridge, addresses of 10\.88\.0\.0\/16\), not flannel’s: the file comes before 10-flannel\.conflist by name$/,
          cites: ['"type": "bridge"', '"type": "flannel"', '/var/lib/cni/networks/containerd-net/10.88.0.2'],
        },
      ],
    },
    'no pod has an address of it yet': {
      nodes: { a: cniNode({ ...STRANGER, 'cni/ipam.txt': lease('cbr0', '10.244.1.2') }) },
      expect: [{ confidence: 'likely', cites: ['"type": "bridge"', '"type": "flannel"'] }],
    },
    'containerd says which it has loaded': {
      nodes: {
        a: cniNode({
          ...STRANGER,
          'cri/info.json': crictlInfo(true).replace(
            '"Prefix": "eth"',
            '"Prefix": "eth",\n    "Networks": [{"Config":{"Name":"cni-loopback"},"IFName":"lo"},{"Config":{"Name":"containerd-net"},"IFName":"eth0"}]',
          ),
        }),
      },
      expect: [{ confidence: 'proven', cites: ['"type": "bridge"', '"type": "flannel"'] }],
    },
    'CRI-O’s sample, of whose network pods have addresses': {
      nodes: {
        a: cniNode({
          'cmdline/kubelet.txt': CRIO,
          'files/etc/cni/net.d/10-crio-bridge.conflist': CRIO_BRIDGE,
          'cni/ipam.txt': lease('crio', '10.85.0.3'),
        }),
      },
      expect: [{ confidence: 'proven', cites: ['"type": "bridge"', '"type": "flannel"', 'networks/crio/10.85.0.3'] }],
    },
    'Calico left its file, and has no device here': {
      nodes: { a: cniNode({ 'files/etc/cni/net.d/10-calico.conflist': CALICO, 'host/ip/addr.txt': LO }) },
      expect: [
        {
          message: /get the network of 10-calico\.conflist \(plugin calico\)/,
          cites: ['"type":"calico"', '"type": "flannel"'],
        },
      ],
    },
  },
  passes: {
    'flannel’s file alone': { nodes: { a: cniNode() } },
    'what sorts behind it: “-” is before “0”': {
      nodes: {
        a: cniNode({
          'files/etc/cni/net.d/100-crio-bridge.conflist': CRIO_BRIDGE,
          'files/etc/cni/net.d/87-podman-bridge.conflist': CRIO_BRIDGE,
        }),
      },
    },
    'put out of the way': {
      nodes: { a: cniNode({ 'files/etc/cni/net.d/10-containerd-net.conflist.off': CONTAINERD_NET }) },
    },
    'dockershim passes over what it cannot use': {
      nodes: {
        a: cniNode({
          'cmdline/kubelet.txt': '/usr/bin/kubelet\n--network-plugin=cni\n',
          'files/etc/cni/net.d/05-cilium.conf': '{"name":"cilium","type":"cilium-cni"}',
          'files/etc/cni/net.d/06-broken.conf': '{',
        }),
      },
    },
    'a bridge built by hand in the leased subnet': {
      nodes: {
        a: cniNode({ 'files/etc/cni/net.d/05-own.conflist': CONTAINERD_NET.replace('10.88.0.0/16', '10.244.1.0/24') }),
      },
    },
  },
  notApplicable: {
    'flannel does not run': {
      nodes: {
        a: cniNode({ ...STRANGER, 'cmdline/flanneld.txt': { status: 'absent', reason: 'no process flanneld' } }),
      },
    },
    'multus chooses': {
      nodes: {
        a: cniNode({
          'files/etc/cni/net.d/00-multus.conf':
            '{"name":"multus-cni-network","type":"multus","delegates":[{"name":"cbr0","plugins":[{"type":"flannel"}]}]}',
        }),
      },
    },
    canal: {
      nodes: {
        a: cniNode({
          'files/etc/cni/net.d/10-flannel.conflist': null,
          'files/etc/cni/net.d/10-canal.conflist': CALICO.replace('calico-ipam', 'host-local'),
        }),
      },
    },
    'containerd gives an interface of each file': {
      nodes: {
        a: cniNode({
          ...STRANGER,
          'files/etc/containerd/config.toml': CONTAINERD_TOML.replace('max_conf_num = 1', 'max_conf_num = 0'),
        }),
      },
    },
    'containerd stops at a broken first file: that is another rule’s': {
      nodes: { a: cniNode({ 'files/etc/cni/net.d/05-x.conf': '{' }) },
    },
    'no kubelet': { nodes: { a: cniNode({ ...STRANGER, 'cmdline/kubelet.txt': { status: 'absent' } }) } },
  },
  unknown: {
    'a folder of copies may lack a file': {
      nodes: { a: cniNode(STRANGER, { format: 'loose-files' }) },
      because: /which files .* holds was not collected whole/,
    },
    'CRI-O may be told which network pods get': {
      nodes: {
        a: cniNode({
          'cmdline/kubelet.txt': CRIO,
          'files/etc/cni/net.d/10-crio-bridge.conflist': CRIO_BRIDGE,
          'cni/ipam.txt': lease('cbr0', '10.244.1.2'),
        }),
      },
      because: /its crio\.conf was not collected/,
    },
    'the runtime says that it uses flannel’s': {
      nodes: {
        a: cniNode({
          ...STRANGER,
          'cri/info.json': crictlInfo(true).replace(
            '"Prefix": "eth"',
            '"Prefix": "eth",\n    "Networks": [{"Config":{"Name":"cni-loopback"},"IFName":"lo"},{"Config":{"Name":"cbr0"},"IFName":"eth0"}]',
          ),
        }),
      },
      because: /the runtime says that it uses cbr0/,
    },
    'Calico runs beside flannel': {
      nodes: {
        a: cniNode({
          'files/etc/cni/net.d/10-calico.conflist': CALICO,
          'host/ip/addr.txt': `${LO}${device(4, 'vxlan.calico')}`,
        }),
      },
      because: /whether calico is meant .*: its device vxlan\.calico is here/,
    },
    'another directory': {
      nodes: {
        a: cniNode({
          ...STRANGER,
          'files/etc/containerd/config.toml': CONTAINERD_TOML.replace('/etc/cni/net.d', '/etc/containerd/net.d'),
        }),
      },
      because: /reads its CNI configuration from \/etc\/containerd\/net\.d/,
    },
    'the first file could not be read': {
      nodes: { a: cniNode({ 'files/etc/cni/net.d/05-x.conf': { status: 'denied' } }) },
      because: /05-x\.conf was not collected whole/,
    },
  },
});

it('a bridge with an address of the other range is removed as well', () => {
  const a = cniNode({
    ...STRANGER,
    'cni/ipam.txt': lease('containerd-net', '10.88.0.2'),
    'host/ip/addr.txt': `${LO}${device(4, 'cni0', '10.88.0.1/16')}`,
  });
  const steps = judge([rule], { a }).findings[0]?.remediation ?? [];
  expect(steps.map((s) => s.run)).toEqual([
    'mv /etc/cni/net.d/10-containerd-net.conflist /etc/cni/net.d/10-containerd-net.conflist.off',
    'ip link del cni0',
  ]);
  expect(steps[0]?.undo).toBe(
    'mv /etc/cni/net.d/10-containerd-net.conflist.off /etc/cni/net.d/10-containerd-net.conflist',
  );
});

it('it breaks nothing yet while no pod has an address of the other network', () => {
  const latent = (ipam: string) =>
    judge([rule], { a: cniNode({ ...STRANGER, 'cni/ipam.txt': ipam, 'cni/bin.txt': ALL }) }).findings[0]?.latent;
  expect(latent(lease('cbr0', '10.244.1.2'))).toBe(true);
  expect(latent(lease('containerd-net', '10.88.0.2'))).toBeUndefined();
  const none = { status: 'absent', reason: 'no such directory: /var/lib/cni/networks' } as const;
  expect(judge([rule], { a: cniNode({ ...STRANGER, 'cni/ipam.txt': none }) }).findings[0]?.latent).toBe(true);
  // addresses by DHCP are written down elsewhere
  const dhcp = { 'files/etc/cni/net.d/10-containerd-net.conflist': CONTAINERD_NET.replace('host-local', 'dhcp') };
  expect(judge([rule], { a: cniNode({ ...dhcp, 'cni/ipam.txt': none }) }).findings[0]?.latent).toBeUndefined();
});

it('it explains what speaks of its addresses, not what breaks pods of flannel', () => {
  const a = cniNode({
    ...STRANGER,
    'cni/ipam.txt': lease('containerd-net', '10.88.0.2') + lease('cbr0', '10.244.1.2'),
    'host/ip/addr.txt': `${LO}${device(4, 'cni0', '10.88.0.1/16')}`,
  });
  expect(judge([rule], { a }).findings[0]?.about).toEqual(['10.88.0.0/16', '10.88.0.2', '10.88.0.1']);
});

it('what another network left, its programs gone: one cause, and no package that lacks them', () => {
  const a = cniNode({ 'files/etc/cni/net.d/10-calico.conflist': CALICO, 'host/ip/addr.txt': LO });
  const { causes, findings } = judge([notReady, rule], { a });
  expect(findings.map((f) => f.rule).sort()).toEqual(['cni-config-shadowed', 'cni-not-ready']);
  expect(causes.map((c) => findings.find((f) => f.id === c.finding)?.rule)).toEqual(['cni-config-shadowed']);
  const [install] = findings.find((f) => f.rule === 'cni-not-ready')?.remediation ?? [];
  expect(install?.step).toMatch(/^calico, calico-ipam is in no package of plugins/);
  expect(install?.run).toBe('kubectl get pods -A -o wide --field-selector spec.nodeName=a; ls -l /etc/cni/net.d');
});
