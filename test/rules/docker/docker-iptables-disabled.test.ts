import { describe, expect, it } from 'vitest';
import { rule } from '../../../rules/docker/docker-iptables-disabled.ts';
import { rule as egress } from '../../../rules/forwarding/egress-masquerade-missing.ts';
import type { Files, NodeFiles } from '../../support/rule-table.ts';
import { judge, testRule } from '../../support/rule-table.ts';
import { DOCKER_SAVE, DOCKER0, type DockerNetworkSpec, dockerNode, flushed } from '../forwarding/nodes.ts';

const TOLD = '{\n  "iptables": false\n}\n';
const DOCKERD: Files = {
  'cmdline/dockerd.txt': '/usr/bin/dockerd\n-H\nfd://\n',
  'files/etc/docker/daemon.json': TOLD,
  'docker/version.json': '{"Server":{"Version":"20.10.24"}}\n',
};
const web = (
  ports = '{"9000/tcp":[{"HostIp":"0.0.0.0","HostPort":"9001"},{"HostIp":"::","HostPort":"9001"}]}',
): Files => ({
  'docker/containers.jsonl': `{"Id":"${'ab'.repeat(32)}","Name":"/web","State":{"Pid":4242,"Status":"running"},"NetworkSettings":{"Ports":${ports},"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}\n`,
});
/** dockerd 20.10 with iptables=false writes that option to its default network. */
const DEFAULT: DockerNetworkSpec = {
  ...DOCKER0,
  options: { 'com.docker.network.bridge.enable_ip_masquerade': 'false' },
};
const node = (
  save: string,
  files: Files = {},
  networks: readonly DockerNetworkSpec[] = [DEFAULT],
): { a: NodeFiles } => ({
  a: dockerNode(save, networks, { ...DOCKERD, ...web('{}'), ...files }),
});
const without = (nodes: { a: NodeFiles }, ...paths: string[]): { a: NodeFiles } => ({
  a: { ...nodes.a, files: Object.fromEntries(Object.entries(nodes.a.files).filter(([p]) => !paths.includes(p))) },
});
const BARE = flushed('ACCEPT');
const MASQ = flushed('ACCEPT', '-A POSTROUTING -o eth0 -j MASQUERADE\n');

testRule(rule, {
  finds: {
    'nothing translates what containers send': {
      nodes: node(BARE),
      expect: [
        {
          key: 'egress docker0',
          severity: 'high',
          confidence: 'likely',
          nodes: ['a'],
          message:
            /is told to write no rules, and nothing translates what containers of docker0 send: .* routers know the way/,
          cites: ['"iptables": false', 'inet 172.17.0.1/16'],
        },
      ],
    },
    'by an option of dockerd': {
      nodes: node(BARE, {
        'cmdline/dockerd.txt': 'dockerd\n--iptables=false\n',
        'files/etc/docker/daemon.json': { status: 'absent' },
      }),
      expect: [{ key: 'egress docker0', cites: ['--iptables=false', 'inet 172.17.0.1/16'] }],
    },
    'and of published ports, which docker-proxy takes': {
      nodes: node(MASQ, web()),
      expect: [
        {
          key: 'ports',
          severity: 'medium',
          message: /published port 9001\/tcp of web: docker-proxy takes them/,
          cites: ['"iptables": false', '"Name":"/web"'],
        },
      ],
    },
    'which nobody takes': {
      nodes: node(MASQ, {
        ...web(),
        'files/etc/docker/daemon.json': '{ "iptables": false, "userland-proxy": false }\n',
      }),
      expect: [
        {
          key: 'ports',
          severity: 'high',
          message: /no docker-proxy takes them either/,
          cites: ['"iptables": false', '"Name":"/web"'],
        },
      ],
    },
  },
  passes: {
    'a rule of one’s own translates, nothing is published': { nodes: node(MASQ) },
    'rules of an earlier run are still there': { nodes: node(DOCKER_SAVE, web()) },
    'a network that is meant to keep its addresses': {
      nodes: node(MASQ, {}, [
        DEFAULT,
        {
          name: 'lan',
          bridge: 'br-0123456789ab',
          subnet: '172.30.0.0/16',
          gateway: '172.30.0.1',
          options: DEFAULT.options ?? {},
        },
      ]),
    },
    'ip-masq=false too: it is meant so': {
      nodes: node(BARE, { 'files/etc/docker/daemon.json': '{ "iptables": false, "ip-masq": false }\n' }),
    },
  },
  notApplicable: {
    'dockerd writes rules': { nodes: node(DOCKER_SAVE, { 'files/etc/docker/daemon.json': '{}\n' }) },
    'dockerd does not run': { nodes: node(BARE, { 'cmdline/dockerd.txt': { status: 'absent' } }) },
    'nobody uses its networks': { nodes: node(BARE, {}, [{ ...DEFAULT, empty: true }]) },
    'daemon.json was not collected, its chains are there': {
      nodes: without(node(DOCKER_SAVE), 'files/etc/docker/daemon.json'),
    },
    rootless: {
      nodes: node(BARE, {
        'docker/info.json': '{"ID":"A","SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}\n',
      }),
    },
  },
  unknown: {
    'daemon.json was not collected': {
      nodes: without(node(BARE), 'files/etc/docker/daemon.json'),
      because: /whether dockerd is told to write no rules/,
    },
    'the other backend was not collected': {
      nodes: without(
        node(BARE.replaceAll('v1.8.7', 'v1.8.9 (nf_tables)')),
        'host/fw/iptables-legacy-save.txt',
        'host/fw/ip_tables_names.txt',
      ),
      because: /whether 172\.17\.0\.0\/16 is translated: the iptables-legacy tables are not known/,
    },
    'no list of containers': {
      nodes: without(node(MASQ), 'docker/containers.jsonl'),
      because: /which ports containers publish/,
    },
  },
});

describe('the setting is the cause', () => {
  it('of addresses that nothing translates', () => {
    const { causes, findings } = judge([egress, rule], node(BARE, web()));
    expect(findings.map((f) => f.rule)).toContain('egress-masquerade-missing');
    const first = findings.find((f) => f.id === causes[0]?.finding);
    expect(first?.rule).toBe('docker-iptables-disabled');
    expect(causes.flatMap((c) => c.explains)).toContain(findings.find((f) => f.rule === egress.id)?.id);
  });
  it('edits the file that says so, and not one that a flag would contradict', () => {
    const run = (nodes: { a: NodeFiles }) => judge([rule], nodes).findings[0]?.remediation?.[0]?.run;
    expect(run(node(BARE))).toMatch(/'\{"iptables":true\}' && systemctl restart docker/);
    const flag = { 'cmdline/dockerd.txt': 'dockerd\n--iptables=false\n', 'files/etc/docker/daemon.json': '{}\n' };
    expect(run(node(BARE, flag))).toMatch(/^systemctl cat docker\.service/);
  });
});
