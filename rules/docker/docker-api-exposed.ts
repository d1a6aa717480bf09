import { isNonEmpty } from '../../src/core/span.ts';
import { DOCKER_DAEMON_KINDS, rootless } from '../../src/derive/docker-daemon.ts';
import { activatedHosts, configuredHosts, openHosts, tcpHost, tlsVerify } from '../../src/derive/docker-hosts.ts';
import { portUse } from '../../src/derive/docker-ports.ts';
import { type OpenSocket, type SocketAnswer, type SocketHolder, socketAnswer } from '../../src/derive/docker-socket.ts';
import { foreignMount, shutSocket, withoutHostPath, withoutMount } from '../../src/derive/docker-socket-remedy.ts';
import { OUTSIDE } from '../../src/derive/pods.ts';
import { HOOK_KINDS, hookNode, shieldOf } from '../../src/net/index.ts';
import type { Cite, Finding, NodeVerdict, NodeView, Undecided } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [
  'sockets',
  ...DOCKER_DAEMON_KINDS,
  'dockerDefault',
  'dockerSocket',
  'dockerSocketMounts',
  'dockerContainers',
  ...HOOK_KINDS,
] as const;

const OFF_TCP = [
  {
    step: 'Remove the tcp host from dockerd; use ssh for remote access.',
    run: 'grep -n "tcp://" /etc/docker/daemon.json /lib/systemd/system/docker.service /etc/systemd/system/docker.service.d/*.conf; systemctl daemon-reload && systemctl restart docker',
    verify: 'ss -lntp | grep dockerd   # prints nothing',
    undo: 'restore the removed host and restart docker',
    risk: 'Tools that use the TCP port stop working; replace them by docker -H ssh://user@node.',
  },
  {
    step: 'Treat the host as compromised until checked: list unknown containers, images and cron entries; rotate its secrets.',
  },
] as const;

export const rule = defineNodeRule({
  id: 'docker-api-exposed',
  title: {
    bad: 'The Docker API is open: on TCP without client certificates, to every local user, or to containers',
    good: 'Only root and the group of its socket reach the Docker API: no TCP without client certificates, no container that may use it',
  },
  severity: 'critical',
  explanation:
    'The API gives root on the host to anyone who can connect. Scanners find port 2375 within hours; several mining worms live on it. The unix socket is the same API: who may write to it is root, and so is who gets into a container that has it mounted, read-only or not, by itself or with a directory above it. Agents such as Portainer, Traefik, cAdvisor or Watchtower ask for that mount: that it is meant does not change what it gives.',
  remediation: [...OFF_TCP, shutSocket(), withoutMount(), withoutHostPath()],
  references: [REF.dockerProtect, REF.dockerd],
  needs: [],
  needsAny: ['sockets', 'daemonJson', 'dockerdArgs'],
  wants: WANTS,
  evaluate(view) {
    return together(view, onTcp(view), socketAnswer(view.source));
  },
});

type View = NodeView<never, (typeof WANTS)[number]>;

/** Listeners and configured hosts on TCP. */
function onTcp({ node, wants, source }: View): NodeVerdict {
  const { sockets, daemonJson, dockerdArgs } = wants;
  const told = tlsVerify(source);
  const verified = told === null ? null : cite(told.fact, told.span);
  const found: Finding[] = [];
  const cites: Cite[] = [];
  const seen = new Set<number>();
  const asked = new Set(configuredHosts(source).map(({ value }) => tcpHost(value)?.port));
  const activated = new Set(activatedHosts(source).map(({ value }) => tcpHost(value)?.port));
  const open: Undecided[] = [];
  const published: Cite[] = [];
  if (!sockets.missing) {
    const tcp = sockets.value.listeners.filter((l) => l.proto === 'tcp');
    const swarms = tcp.some((l) => l.port === 7946 && isDaemon(l));
    const useOf = portUse(source, () => hookNode(source).host.rules(4).rulesets, swarms);
    for (const l of tcp) {
      const held = asked.has(l.port) && activated.has(l.port) && l.processes.some((p) => p.name === 'systemd');
      if (!held && !isDaemon(l)) continue;
      const use = asked.has(l.port) ? null : useOf(l.port);
      if (use?.use === 'other') continue;
      seen.add(l.port);
      if (use?.use === 'published') {
        published.push(cite(sockets, l), ...(use.told === null ? [] : [cite(use.told.fact, use.told.span)]));
        continue;
      }
      if (use?.use === 'unknown') {
        open.push({ nodes: [node.id], because: use.because, evidence: use.evidence });
        continue;
      }
      // on a port that nobody asked for (socket activation, a setting of a later version) it need not be the API
      const sure = l.port === 2375 || l.port === 2376 || asked.has(l.port);
      add(`${l.address}:${l.port}`, l.address, [cite(sockets, l)], true, sure ? 'proven' : 'likely');
    }
    for (const l of tcp) {
      const [by] = l.processes;
      if (l.port !== 2375 || seen.has(2375) || (by !== undefined && asked.has(2375))) continue;
      seen.add(2375);
      // without root, ss cannot name processes: a bare 2375 is then the only sign
      if (by === undefined) add(`${l.address}:2375`, l.address, [cite(sockets, l)], true, 'possible');
      else {
        const because = `${by.name} listens on port 2375, which Docker’s API has without TLS by custom: whether it leads there (as socat and proxies of the socket do) was not collected`;
        open.push({ nodes: [node.id], because, evidence: [] });
      }
    }
  }
  for (const { value, fact, span } of configuredHosts(source)) {
    const host = tcpHost(value);
    if (host === null) continue;
    const at = cite(fact, span);
    const { address, port } = host;
    const there = sockets.missing || !isClosed(sockets) || sockets.value.listeners.some((l) => l.port === port);
    // in the namespace of a rootless dockerd nobody else gets to it, unless rootlesskit passes the port on
    if (!there && rootless(source) !== null) continue;
    if (seen.has(port)) {
      const known = found.find((f) => f.key.endsWith(`:${port}`));
      if (known !== undefined) found[found.indexOf(known)] = { ...known, cites: [...known.cites, at] };
      continue;
    }
    seen.add(port);
    add(`${address}:${port}`, address, [at], false);
  }
  const unread = openHosts(source);
  if (unread !== null) open.push({ nodes: [node.id], ...unread });
  if (isNonEmpty(found)) return findings(found, open);
  if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
  if (sockets.missing && dockerdArgs.missing && daemonJson.missing)
    return notApplicable('dockerd neither runs nor is configured here');
  const runs = !dockerdArgs.missing;
  if (!runs && (sockets.missing || isClosed(sockets)) && daemonJson.missing && dockerdArgs.lookedFor)
    return notApplicable('dockerd does not run on this node');
  if (sockets.missing)
    return unknown(node.id, 'listening sockets were not collected: only the configuration was seen', [
      'sock.ss-listen',
    ]);
  if (!isClosed(sockets)) return unknown(node.id, 'the list of listening sockets is not whole', ['sock.ss-listen']);
  const tcp = sockets.value.listeners.filter((l) => l.proto === 'tcp');
  if (tcp.length > 0 && tcp.every((l) => l.processes.length === 0))
    return unknown(node.id, 'who listens on which port was not collected: that takes root', ['sock.ss-listen']);
  const what = published.length === 0 ? '' : ' for anything but ports that containers publish';
  return pass(absent(sockets, `a TCP listener of dockerd${what} without client verification`), ...cites, ...published);

  function add(
    where: string,
    address: string,
    at: readonly [Cite, ...Cite[]],
    observed: boolean,
    confidence?: Finding['confidence'],
  ) {
    if (verified !== null) {
      cites.push(...at, verified);
      return;
    }
    const local = /^\[?(127\.|::ffff:127\.|::1\]?$|localhost$)/.test(address);
    const how = observed ? 'listens' : 'is configured to listen';
    const port = Number(/(\d+)$/.exec(where)?.[1]);
    const shield = local ? null : shieldOf(hookNode(source), OUTSIDE, port, address.includes(':'));
    const extra = daemonJson.missing ? [] : [tlsAbsence()].filter((c): c is Cite => c !== null);
    found.push({
      key: where,
      severity: local || shield !== null ? 'high' : 'critical',
      confidence: confidence ?? (observed ? 'proven' : 'likely'),
      nodes: [node.id],
      message: `The Docker API ${how} on ${where} of ${node.id} without TLS client verification${local ? ' (loopback: any local user or host-network container is root)' : ''}${shield === null ? '' : ' (only the host’s firewall hides it from other machines; containers and local users reach it)'}${observed ? '' : '; the listener itself was not seen'}`,
      cites: [...at, ...extra, ...(shield === null ? [] : [cite(shield.fact, shield)])],
      disprove: 'dockerd runs with tlsverify and a CA, or nothing listens there',
      remediation: OFF_TCP,
    });
  }

  function tlsAbsence(): Cite | null {
    return daemonJson.missing || !isClosed(daemonJson) ? null : absent(daemonJson, '"tlsverify": true');
  }
}

/** Red Hat's Docker 1.13 has a suffix, older ones no d. */
const isDaemon = ({ processes }: { readonly processes: readonly { readonly name: string }[] }) =>
  processes.some((p) => /^docker(d|d?-current|d?-latest)?$/.test(p.name));

/** Nothing passes beside an open question: a bundle without the socket's evidence leaves the rule unknown, and the question says what was in order. */
function together(view: View, tcp: NodeVerdict, socket: SocketAnswer | null): NodeVerdict {
  if (socket === null) return tcp;
  const found = [...(tcp.kind === 'findings' ? tcp.findings : []), ...socketFindings(view, socket)];
  const fine = tcp.kind === 'pass' ? '; on TCP nothing is open' : '';
  const asked: Undecided[] = socket.questions.map(({ because, evidence }) => ({
    nodes: [view.node.id],
    because: `${because}${fine}`,
    evidence,
  }));
  const open = [...(tcp.kind === 'findings' || tcp.kind === 'unknown' ? tcp.unknown : []), ...asked];
  if (isNonEmpty(found)) return findings(found, open);
  if (tcp.kind === 'not-applicable') return tcp;
  if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
  if (tcp.kind !== 'pass') return tcp;
  const { mounts } = socket.whole;
  const none =
    mounts !== null && isClosed(mounts)
      ? [absent(mounts, 'a running container that may connect to docker’s socket')]
      : [];
  const [first, ...more] = tcp.cites;
  return pass(first, ...more, ...socket.proofs.slice(0, 12).map((p) => cite(p.fact, p.span)), ...none);
}

function socketFindings({ node, source }: View, { open, holders }: SocketAnswer): Finding[] {
  const limited = rootless(source);
  // rootless dockerd: what it gives is the user that runs it
  const power = limited === null ? `root on ${node.id}` : `the user of rootless dockerd on ${node.id}`;
  const severity = limited === null ? 'high' : 'medium';
  const also = limited === null ? [] : [cite(limited.fact, limited.span)];
  const from = (list: readonly (OpenSocket | SocketHolder)[]): Cite[] =>
    list.flatMap((h) => h.told.map((t) => cite(t.fact, t.span)));
  const found: Finding[] = [];
  const add = (finding: Omit<Finding, 'severity' | 'nodes' | 'cites'>, cites: readonly Cite[]) => {
    const [first, ...more] = cites;
    if (first !== undefined) found.push({ ...finding, severity, nodes: [node.id], cites: [first, ...more, ...also] });
  };
  for (const o of open) {
    const { path, mode, user, uid, group, gid } = o.socket;
    const message = `Every local user of ${node.id} may connect to the Docker API, which makes them ${power}: ${path} is ${mode}, ${user ?? uid}:${group ?? gid}`;
    const disprove = 'a directory above the socket, or a security module, keeps other users out';
    add({ key: `socket:${path}`, confidence: 'proven', message, disprove, remediation: [shutSocket(path)] }, from([o]));
  }
  const disprove = 'the processes there may not write to the socket, or another socket is mounted';
  const sure = (list: readonly SocketHolder[]) =>
    list.every((h) => h.sure) ? ('proven' as const) : ('likely' as const);
  const pods = holders.filter((h) => podOf(h) !== null);
  const plain = holders.filter((h) => podOf(h) === null && h.container !== undefined);
  const strange = holders.filter((h) => h.container === undefined);
  for (const h of plain) {
    const name = h.container?.name ?? h.id;
    const message = `Container ${name}${imageOf(h)} has the Docker API and is ${power} by it: ${mountOf(h)}`;
    const remediation = [withoutMount(name)];
    add({ key: `container:${name}`, confidence: sure([h]), message, disprove, remediation }, from([h]));
  }
  const several = (list: readonly SocketHolder[], names: readonly string[]) => {
    const [first] = list;
    const more = names.length > 8 ? ` and ${names.length - 8} more` : '';
    return `${names.slice(0, 8).join(', ')}${more}${first === undefined ? '' : `; ${list.length > 1 ? 'in the first, ' : ''}${mountOf(first)}`}`;
  };
  const inPods = pods.map((h) => `${podOf(h)}${imageOf(h)}`);
  add(
    {
      key: 'pods',
      confidence: sure(pods),
      message: `Kubernetes pods have the Docker API and are ${power} by it: ${several(pods, inPods)}`,
      disprove,
      remediation: [withoutHostPath()],
    },
    from(pods).slice(0, 16),
  );
  const unnamed = strange.map((h) => `${h.id.slice(0, 12)} (process ${h.process.name})`);
  add(
    {
      key: 'unnamed-containers',
      confidence: sure(strange),
      message: `Containers ${source.get('dockerContainers').missing ? 'whose names were not collected' : 'that docker’s list does not hold'} have the Docker API and are ${power} by it: ${several(strange, unnamed)}`,
      disprove,
      remediation: [foreignMount(strange[0]?.id), withoutHostPath()],
    },
    from(strange).slice(0, 16),
  );
  return found;
}

const imageOf = ({ container }: SocketHolder) => (container?.image === undefined ? '' : ` (image ${container.image})`);

/** cri-dockerd and dockershim label their containers with the pod. */
function podOf({ container }: SocketHolder): string | null {
  const pod = container?.labels['io.kubernetes.pod.name'];
  return pod === undefined ? null : `${container?.labels['io.kubernetes.pod.namespace'] ?? '?'}/${pod}`;
}

function mountOf({ mount, process }: SocketHolder): string {
  const { at, socket, host, readOnly } = mount;
  const rest = socket.slice(at === '/' ? 0 : at.length);
  const from = host.endsWith(rest) ? host.slice(0, host.length - rest.length) || '/' : host;
  const what = rest === '' ? host : `${from}, with ${host} in it,`;
  const ro = readOnly ? ' read-only, which keeps nobody from connecting' : '';
  return `${what} is mounted at ${at}${ro}; a process of uid ${process.uid} there may write to the socket`;
}
