import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/kubelet/host-firewall-blocks-control-plane.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { podNode } from '../forwarding/nodes.ts';

const socket = (address: string, process: string | null) =>
  `tcp   LISTEN 0      4096      ${address}       0.0.0.0:*${process === null ? '' : `    users:(("${process}",pid=900,fd=4))`} ino:2 sk:2 cgroup:/ <->\n`;
const KUBELET = socket('*:10250', 'kubelet') + socket('127.0.0.1:10248', 'kubelet');
const API = socket('*:6443', 'kube-apiserver');
/** node-a, with node-b at 192.168.50.12 and one pod, 10.244.1.10. */
const node = (sockets: string, input: readonly string[], policy = 'DROP', files: Files = {}): { a: NodeFiles } => ({
  a: podNode(
    (text) =>
      text
        .replace(/:INPUT ACCEPT/, `:INPUT ${policy}`)
        .replace(/^(?:\[[\d:]+\] )?-A FORWARD /m, (first) => `${input.map((r) => `-A INPUT ${r}\n`).join('')}${first}`),
    { 'host/sock/ss-listen.txt': sockets, ...files },
  ),
});
const KNOWN = ['-i lo -j ACCEPT', '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'];
const NODES = '-s 192.168.50.0/24 -j ACCEPT';
const PODS = '-s 10.244.0.0/16 -j ACCEPT';
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});

testRule(rule, {
  finds: {
    'a control plane that lets nobody in': {
      nodes: node(KUBELET + API, KNOWN),
      expect: [
        {
          key: '10250, 6443 policy DROP of INPUT',
          severity: 'high',
          confidence: 'proven',
          nodes: ['a'],
          message:
            /^INPUT on a drops what other nodes \(192\.168\.50\.12\) send to the kubelet \(10250\/tcp\) and what other nodes \(192\.168\.50\.12\) and its own pods \(10\.244\.1\.10\) send to the API server \(6443\/tcp\): policy DROP of INPUT in filter\/INPUT$/,
          cites: [':INPUT DROP', '*:10250', '*:6443', 'dst 192.168.50.12', 'dst 192.168.50.12', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'pods of the node were forgotten (flannel 2116)': {
      nodes: node(KUBELET + API, [...KNOWN, NODES]),
      expect: [
        {
          severity: 'high',
          message:
            /its own pods \(10\.244\.1\.10\) send to the kubelet .* its own pods \(10\.244\.1\.10\) send to the API server/,
          cites: [':INPUT DROP', '*:10250', '*:6443', 'inet 10.244.1.1/24', 'inet 10.244.1.1/24'],
        },
      ],
    },
    'on a worker': {
      nodes: node(KUBELET, [...KNOWN, NODES]),
      expect: [{ severity: 'medium', cites: [':INPUT DROP', '*:10250', 'inet 10.244.1.1/24'] }],
    },
    'a worker whose kubelet nobody reaches': {
      nodes: node(KUBELET, [...KNOWN, PODS]),
      expect: [
        {
          severity: 'high',
          message: /other nodes \(192\.168\.50\.12\) send to the kubelet/,
          cites: [':INPUT DROP', '*:10250', 'dst 192.168.50.12'],
        },
      ],
    },
    'k3s has all in one program': {
      nodes: node(socket('*:6443', 'k3s-server') + socket('*:10250', 'k3s-server'), [...KNOWN, NODES]),
      expect: [
        { severity: 'high', cites: [':INPUT DROP', '*:6443', '*:10250', 'inet 10.244.1.1/24', 'inet 10.244.1.1/24'] },
      ],
    },
    'who listens was not told': {
      nodes: node(socket('*:6443', null), [...KNOWN, NODES]),
      expect: [{ severity: 'high', confidence: 'likely', cites: [':INPUT DROP', '*:6443', 'inet 10.244.1.1/24'] }],
    },
  },
  passes: {
    'INPUT accepts': { nodes: node(KUBELET + API, [], 'ACCEPT') },
    'nodes and pods are let in': { nodes: node(KUBELET + API, [...KNOWN, NODES, PODS]) },
    'by single ports': {
      nodes: node(KUBELET + API, [...KNOWN, '-p tcp -m multiport --dports 6443,10250 -j ACCEPT']),
    },
    'the kubelet is for the control plane alone': {
      nodes: node(KUBELET, [...KNOWN, '-s 192.168.50.12/32 -p tcp -m tcp --dport 10250 -j ACCEPT', PODS]),
    },
    'other ports are shut': { nodes: node(KUBELET + API, ['-p tcp -m tcp --dport 22 -j DROP'], 'ACCEPT') },
  },
  notApplicable: {
    'on loopback alone': { nodes: node(socket('127.0.0.1:10250', 'kubelet'), KNOWN) },
    'another program': { nodes: node(socket('*:6443', 'haproxy'), KNOWN) },
  },
  unknown: {
    'forwarding entries were not collected': {
      nodes: without(node(KUBELET, [...KNOWN, PODS]), 'host/bridge/fdb.txt'),
      because: /which other nodes there are: bridge\.fdb/,
    },
    'the kubelet is for a control plane that has no pods': {
      nodes: node(KUBELET, [...KNOWN, '-s 192.168.60.0/28 -p tcp -m tcp --dport 10250 -j ACCEPT', PODS]),
      because: /"-A INPUT -s 192\.168\.60\.0\/28 -p tcp -m tcp --dport 10250 -j ACCEPT" lets others in/,
    },
    'the rules were not collected': {
      nodes: node(KUBELET + API, KNOWN, 'DROP', {
        'host/fw/iptables-save.txt': { status: 'timeout' },
        'host/fw/nft.json': { status: 'timeout' },
      }),
      because: /whether other nodes reach the API server \(6443\/tcp\): /,
    },
  },
});

describe('what lets them in', () => {
  it('the nodes by their addresses, the pods by their network', () => {
    const steps = judge([rule], node(KUBELET + API, KNOWN)).findings[0]?.remediation ?? [];
    expect(steps.map((s) => s.run)).toEqual([
      'iptables -I INPUT -s 192.168.50.12 -p tcp --dport 10250 -j ACCEPT',
      'iptables -I INPUT -s 192.168.50.12 -p tcp --dport 6443 -j ACCEPT',
      'iptables -I INPUT -s 10.244.1.0/24 -p tcp --dport 6443 -j ACCEPT',
    ]);
    expect(steps[2]?.undo).toBe('iptables -D INPUT -s 10.244.1.0/24 -p tcp --dport 6443 -j ACCEPT');
  });

  it('of many nodes it finds the one that is kept out, and says how many were not asked about', () => {
    const peers = Array.from({ length: 60 }, (_, i) => i + 12);
    const fdb = peers.map((n) => `0e:00:00:00:00:${n} dev flannel.1 dst 192.168.50.${n} self permanent\n`).join('');
    const many = (rules: readonly string[]) =>
      judge([rule], node(API, [...rules, NODES, PODS], 'DROP', { 'host/bridge/fdb.txt': fdb }));
    const one = many(['-s 192.168.50.70/32 -p tcp -m tcp --dport 6443 -j DROP']);
    expect(one.findings.map((f) => f.message)).toEqual([
      expect.stringContaining('some other nodes (192.168.50.70) send to the API server'),
    ]);
    const each = many(peers.map((n) => `-s 192.168.50.${n}/32 -p tcp -m tcp --dport 6443 -j ACCEPT`));
    expect(each.findings).toEqual([]);
    expect(JSON.stringify(each)).toContain('28 of 60 nodes that may use the API server were not asked about');
  });
});
