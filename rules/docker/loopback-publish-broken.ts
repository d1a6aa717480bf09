import { DOCKER_DAEMON_KINDS } from '../../src/derive/docker-daemon.ts';
import { withoutProxy } from '../../src/derive/docker-ports.ts';
import { publishedOn, type RuledPort } from '../../src/derive/docker-published.ts';
import { restartContainers, restartDocker } from '../../src/derive/docker-remedy.ts';
import { dockerSubject } from '../../src/derive/docker-subject.ts';
import { POD_KINDS } from '../../src/derive/pods.ts';
import { listenersAt } from '../../src/derive/port-claims.ts';
import { askLoopback, HOOK_KINDS, hookNode, type LoopbackWay } from '../../src/net/index.ts';
import type { Cite, NodeView, Remediation } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, ...POD_KINDS, ...DOCKER_DAEMON_KINDS, 'sockets'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

/** So many ports that no proxy takes are followed. */
const MOST_ASKED = 64;
const PROXY = /^(docker-proxy|docker-pr|rootless)/;

export const rule = defineNodeRule({
  id: 'loopback-publish-broken',
  title: {
    bad: 'A published port does not answer on the node’s own loopback',
    good: 'Published ports answer on the node’s own loopback',
  },
  severity: 'high',
  explanation:
    'On 127.0.0.1 a published port is answered by docker-proxy. Without it (userland-proxy=false, or a proxy that died) the node has to translate its own packets, which takes three things: a rule of nat OUTPUT for 127.0.0.0/8, route_localnet of the bridge, because a loopback source does not leave by another device otherwise, and a rule that translates that source, because a container that sees 127.0.0.1 answers itself. ' +
    'Other machines are served all the same; a port that is published on 127.0.0.1 alone serves nobody.',
  remediation: [
    {
      step: 'Let dockerd run its proxy, which is what it does unless it is told otherwise: take "userland-proxy": false out of daemon.json, then restart it.',
      run: 'grep -n userland-proxy /etc/docker/daemon.json; systemctl restart docker',
      verify: 'ss -lntp | grep docker-proxy   # one line for each published port',
      undo: 'put the line back and restart docker',
      risk: 'Restarts the containers, unless live-restore is on.',
    },
  ],
  references: [REF.dockerPorts, REF.dockerd, REF.ipSysctl],
  needs: [],
  needsAny: ['dockerContainers', 'dockerNetworks'],
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, source, wants } = view;
    const { dockerContainers: containers, sockets } = wants;
    const subject = dockerSubject(source);
    if (subject.kind === 'none')
      return notApplicable(
        subject.because,
        subject.told === undefined ? [] : [cite(subject.told.fact, subject.told.span)],
      );
    if (subject.kind === 'open') return unknown(node.id, subject.because, subject.evidence);
    if (containers.missing)
      return unknown(node.id, `which ports are published: docker.containers ${containers.because}`, [
        'docker.containers',
      ]);
    const ports = publishedOn(containers, subject.networks, node.collectedAt).filter(
      (p) => p.hostIp === null || p.hostIp.startsWith('127.'),
    );
    const [port] = ports;
    if (port === undefined) {
      if (!isClosed(containers)) return unknown(node.id, 'the list of containers is not whole', ['docker.containers']);
      return notApplicable('no running container publishes a port on loopback', [
        absent(containers, 'a running container with a port that is published on 127.0.0.1 or on all addresses'),
      ]);
    }
    const tally = new NodeTally(node.id);
    let asked = 0;
    for (const p of ports) {
      const taken = sockets.missing ? [] : listenersAt(sockets, p.hostIp ?? '127.0.0.1', p.hostPort, p.proto);
      const proxy = taken.find((l) => l.process !== null && PROXY.test(l.process));
      if (proxy !== undefined && !sockets.missing) tally.passed([cite(sockets, proxy)]);
      else {
        asked += 1;
        const heard = taken.map((l) => l.process);
        if (asked <= MOST_ASKED) judge(view, p, heard, tally);
      }
    }
    tally.left(asked - MOST_ASKED, asked, 'published ports without a docker-proxy');
    return tally.verdict([cite(containers, { line: port.line })]);
  },
});

/** No proxy was seen on the port; `heard`: who else listens there, null: who it is was not told. */
function judge(view: View, port: RuledPort, heard: readonly (string | null)[], tally: NodeTally): void {
  const { node, source, wants } = view;
  const { sockets, dockerContainers: containers } = wants;
  const { proto, hostPort, hostIp, targets, containerPort } = port;
  if (containers.missing || (proto !== 'tcp' && proto !== 'udp') || port.elsewhere) return;
  const dst = hostIp ?? '127.0.0.1';
  const here = `${dst}:${hostPort}`;
  const what = `whether published port ${hostPort}/${proto} of container ${port.container} answers on ${dst}`;
  const { ways, because, evidence } = askLoopback(hookNode(source), { dst, proto, dport: hostPort });
  const [way] = ways;
  if (way === undefined || ways.length > 1) {
    tally.unknown(`${what}: ${because}`, evidence);
    return;
  }
  const led = targets.some((t) => way.to === `${t.ip}:${containerPort}`);
  if (led && way.mayLeave === true && way.translated === true) {
    const { decider, setting } = way;
    tally.passed([
      ...(decider === null ? [] : [cite(decider.fact, decider)]),
      ...(setting === null ? [] : [cite(setting.fact, setting)]),
    ]);
    return;
  }
  if (!led) {
    // it is led elsewhere, or dropped: other rules speak of that
    if (way.to !== here) return;
    if (sockets.missing || !isClosed(sockets)) {
      tally.unknown(`${what}: no rule leads it there, and whether docker-proxy listens was not collected whole`, [
        'sock.ss-listen',
      ]);
      return;
    }
    if (heard.includes(null)) {
      tally.unknown(`${what}: who listens there was not told, which takes root`, ['sock.ss-listen']);
      return;
    }
    // dockerd itself only keeps the port; any other program answers for itself
    if (heard.some((name) => name !== 'dockerd')) return;
  }
  if (port.young !== null) {
    tally.unknown(`${what}: ${port.young}, perhaps after the sockets were read`, []);
    return;
  }
  const lack = lackOf(way, led);
  if (lack === null) {
    tally.unknown(
      `${what}: whether a source of 127.0.0.0/8 may leave by ${way.dev} or is translated there is not known`,
      ['sys.sysctl'],
    );
    return;
  }
  const only = hostIp !== null;
  tally.fault({
    key: `${here}/${proto} ${lack.key}`,
    severity: only ? 'high' : 'medium',
    confidence: led ? 'proven' : 'likely',
    nodes: [node.id],
    about: [here],
    message: `Port ${hostPort}/${proto} of container ${port.container} does not answer on ${dst} of ${node.id}${only ? ', the only address that it is published on' : ', though other machines may reach it'}: ${lack.says}`,
    cites: [cite(containers, { line: port.line }), ...citesOf(view, way, led, port)],
    remediation: remedy(view, port, way, led),
    disprove: `a connection from the node to ${here} that the container answers`,
  });
}

function lackOf({ dev, mayLeave, translated }: LoopbackWay, led: boolean): { key: string; says: string } | null {
  if (!led)
    return {
      key: 'nobody',
      says: 'no docker-proxy listens there, and no rule of nat OUTPUT leads 127.0.0.0/8 to the container',
    };
  if (mayLeave === false)
    return {
      key: 'route_localnet',
      says: `it is led to the container, but net.ipv4.conf.${dev}.route_localnet is 0: nothing with a loopback source leaves by ${dev}`,
    };
  if (translated === false)
    return {
      key: 'source',
      says: `it is led to the container with the source 127.0.0.1, which no rule translates: the container answers itself`,
    };
  return null;
}

function citesOf(
  { wants }: View,
  { decider, setting }: LoopbackWay,
  led: boolean,
  { hostPort, proto }: RuledPort,
): readonly Cite[] {
  const { sockets } = wants;
  if (led)
    return [
      ...(decider === null ? [] : [cite(decider.fact, decider)]),
      ...(setting === null ? [] : [cite(setting.fact, setting)]),
    ];
  return !sockets.missing && isClosed(sockets) ? [absent(sockets, `docker-proxy on ${hostPort}/${proto}`)] : [];
}

function remedy({ source }: View, port: RuledPort, { dev, mayLeave }: LoopbackWay, led: boolean): Remediation[] {
  const key = `net.ipv4.conf.${dev}.route_localnet`;
  if (led && mayLeave === false)
    return [
      {
        step: 'Switch it on again, as dockerd does when it makes the bridge; find the file of sysctl.d or the hardening script that turns it off.',
        run: `sysctl -w ${key}=1`,
        verify: `sysctl ${key}; grep -rs route_localnet /etc/sysctl.conf /etc/sysctl.d /usr/lib/sysctl.d`,
        undo: `sysctl -w ${key}=0`,
        risk: 'Neighbours on that bridge could send to 127.0.0.0/8 of the node; dockerd 28 and newer drops that.',
      },
    ];
  const again = { ...restartDocker(source, 'iptables'), verify: `ss -Hlnp 'sport = :${port.hostPort}'` };
  if (withoutProxy(source)) return [again];
  // dockerd starts a proxy with each container
  return [
    {
      ...restartContainers([port], null),
      verify: again.verify,
      step: 'Restart the container: dockerd starts a proxy for its ports again.',
    },
    again,
  ];
}
