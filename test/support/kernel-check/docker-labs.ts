import { type Container, DockerLab, type DockerLabSpec, type Protocol } from '../lab/index.ts';
import { type Judgement, judgeProbe } from './check.ts';
import { traceAll } from './tracer.ts';

/** A host with a real dockerd, and what is changed on it afterwards. */
export interface DockerCase {
  readonly title: string;
  readonly lab?: DockerLabSpec;
  /** Lines on the host once the containers run. */
  readonly change?: string;
}

export interface DockerProbe {
  readonly from: string;
  readonly to: string;
  readonly proto: Protocol;
  readonly port?: number;
}

export const DOCKER_CASES: readonly DockerCase[] = [
  { title: 'as installed' },
  { title: 'without docker-proxy', lab: { daemonJson: { 'userland-proxy': false } } },
  { title: 'icc=false', lab: { daemonJson: { icc: false } } },
  { title: 'ip-masq=false, published on one address', lab: { daemonJson: { 'ip-masq': false } } },
  { title: 'iptables=false', lab: { daemonJson: { iptables: false } } },
  { title: 'iptables-legacy', lab: { iptables: 'legacy' } },
  { title: 'the nat table flushed', change: 'iptables -t nat -F' },
  { title: 'all rules flushed', change: 'iptables -F\niptables -t nat -F' },
  { title: 'a blanket accept', change: 'iptables -I FORWARD -s 0.0.0.0/0 -j ACCEPT' },
  {
    title: 'INPUT DROP and DOCKER-USER',
    change: `iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -P INPUT DROP
iptables -I DOCKER-USER -i eth0 -p tcp --dport 9002 -j DROP
iptables -I DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 9003 --ctdir ORIGINAL -j DROP`,
  },
  { title: 'bridge-nf-call-iptables=0', change: 'sysctl -qw net.bridge.bridge-nf-call-iptables=0' },
  { title: 'ip_forward=0', change: 'sysctl -qw net.ipv4.ip_forward=0' },
];

async function containers(docker: DockerLab): Promise<Container[]> {
  const listen = [80, '53/udp'] as const;
  await docker.docker('network create net2');
  await docker.docker('network create --internal inside');
  const made: Container[] = [];
  for (const spec of [
    { name: 'c1', publish: ['9001:80', '9053:53/udp'] },
    { name: 'c2', publish: [`${docker.node.ip}:9002:80`] },
    { name: 'c3', network: 'net2', publish: ['9003:80', '127.0.0.1:9004:80'] },
    { name: 'c4', network: 'net2' },
    { name: 'c5', network: 'inside' },
    { name: 'c6', network: 'inside' },
  ])
    made.push(await docker.container({ ...spec, listen }));
  return made;
}

function probes(docker: DockerLab, made: readonly Container[]): DockerProbe[] {
  const host = docker.node.ip!;
  const outside = docker.outside.ip!;
  const from = [...made.map((c) => c.id), docker.node.id, 'outside'];
  const out: DockerProbe[] = [];
  for (const place of from) {
    for (const to of [...made.map((c) => c.ip), host, outside]) {
      if (to === made.find((c) => c.id === place)?.ip) continue;
      out.push({ from: place, to, proto: 'icmp' }, { from: place, to, proto: 'tcp', port: 80 });
      out.push({ from: place, to, proto: 'udp', port: 53 });
    }
    for (const port of [9001, 9002, 9003, 9004]) out.push({ from: place, to: host, proto: 'tcp', port });
    out.push({ from: place, to: host, proto: 'udp', port: 9053 });
  }
  for (const port of [9001, 9002, 9003, 9004])
    out.push(
      { from: docker.node.id, to: '127.0.0.1', proto: 'tcp', port },
      { from: docker.node.id, to: '172.17.0.1', proto: 'tcp', port },
    );
  return out;
}

/** Builds the host, probes everything, collects and traces; what came of every probe. */
export async function checkDocker(wanted: DockerCase, dir: string): Promise<Judgement<DockerProbe>[]> {
  const docker = await DockerLab.create(wanted.lab);
  try {
    const made = await containers(docker);
    await docker.lab.serve(docker.node, 'tcp', 80);
    await docker.lab.serve(docker.node, 'udp', 53);
    await docker.outside.sh(`ip route add 172.16.0.0/12 via ${docker.node.ip}`);
    if (wanted.change !== undefined) await docker.node.sh(wanted.change);
    const asked = probes(docker, made);
    const results = await docker.probeAll(asked.map((probe) => ({ ...probe, timeout: 0.7 })));
    const bundle = await docker.collect(dir, ['--quick']);
    const ips = new Map<string, string>([...made.map((c) => [c.id, c.ip] as const), ['outside', docker.outside.ip!]]);
    const traces = await traceAll(
      [bundle],
      asked.map((probe) => ({ ...probe, from: ips.get(probe.from) ?? probe.from, port: probe.port })),
    );
    return asked.map((probe, i) => {
      const dark = probe.from === 'outside' || probe.to === docker.outside.ip ? 'yes' : 'perhaps';
      return judgeProbe(probe, [results[i]!], traces[i]!, dark);
    });
  } finally {
    await docker.destroy();
  }
}
