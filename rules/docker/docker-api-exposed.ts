import { isNonEmpty } from '../../src/core/span.ts';
import { OUTSIDE } from '../../src/derive/pods.ts';
import { elements, flag, flags, setting } from '../../src/derive/settings.ts';
import { askInput, type Decider, formatAddr, HOOK_KINDS, hookNode, routeTo } from '../../src/net/index.ts';
import type { Cite, Finding, Undecided } from '../../src/rule/index.ts';
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

export const rule = defineNodeRule({
  id: 'docker-api-exposed',
  title: {
    bad: 'The Docker API listens on TCP without verifying its clients',
    good: 'The Docker API is not on TCP, or demands client certificates',
  },
  severity: 'critical',
  explanation:
    'The API gives root on the host to anyone who can connect. Scanners find port 2375 within hours; several mining worms live on it.',
  remediation: [
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
  ],
  references: [REF.dockerProtect, REF.dockerd],
  needs: [],
  needsAny: ['sockets', 'daemonJson', 'dockerdArgs'],
  wants: ['sockets', 'daemonJson', 'dockerdArgs', 'dockerUnit', 'dockerContainers', ...HOOK_KINDS],
  evaluate({ node, wants, source }) {
    const { sockets, daemonJson, dockerdArgs, dockerUnit } = wants;
    const verified = tlsVerify();
    const found: Finding[] = [];
    const cites: Cite[] = [];
    const seen = new Set<number>();
    const other = otherPorts();
    const asked = new Set(configuredHosts().map(({ value }) => tcpHost(value)?.port));
    const kept = keptPorts();
    const open: Undecided[] = [];
    const published: Cite[] = [];
    if (!sockets.missing) {
      for (const l of sockets.value.listeners) {
        if (l.proto !== 'tcp' || !l.processes.some((p) => DAEMON.test(p.name))) continue;
        if (swarmPort(l.port) || other.has(l.port)) continue;
        seen.add(l.port);
        if (!asked.has(l.port) && kept?.has(l.port) === true) {
          published.push(cite(sockets, l));
          continue;
        }
        if (!asked.has(l.port) && kept === null) {
          const because = `whether dockerd has port ${l.port} for its API: with userland-proxy off it also keeps the ports that containers publish, and which those are was not collected`;
          open.push({ nodes: [node.id], because, evidence: ['docker.containers'] });
          continue;
        }
        // on a port that nobody asked for (socket activation, a setting of a later version) it need not be the API
        const sure = l.port === 2375 || l.port === 2376 || asked.has(l.port);
        add(`${l.address}:${l.port}`, l.address, [cite(sockets, l)], true, sure ? 'proven' : 'likely');
      }
      // without root, ss cannot name processes: a bare 2375 is then the only sign
      for (const l of sockets.value.listeners) {
        if (l.proto !== 'tcp' || l.port !== 2375 || seen.has(2375) || l.processes.length > 0) continue;
        seen.add(2375);
        add(`${l.address}:2375`, l.address, [cite(sockets, l)], true, 'possible');
      }
    }
    for (const { value, at } of configuredHosts()) {
      const host = tcpHost(value);
      if (host === null) continue;
      const { address, port } = host;
      if (seen.has(port)) {
        const known = found.find((f) => f.key.endsWith(`:${port}`));
        if (known !== undefined) found[found.indexOf(known)] = { ...known, cites: [...known.cites, at] };
        continue;
      }
      seen.add(port);
      add(`${address}:${port}`, address, [at], false);
    }
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
    return pass(
      absent(sockets, `a TCP listener of dockerd${what} without client verification`),
      ...cites,
      ...published,
    );

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
      const local = /^(127\.|\[?::1\]?$|localhost$)/.test(address);
      const how = observed ? 'listens' : 'is configured to listen';
      const shield = local ? null : shielded(where);
      const extra = daemonJson.missing ? [] : [tlsAbsence()].filter((c): c is Cite => c !== null);
      found.push({
        key: where,
        severity: local || shield !== null ? 'high' : 'critical',
        confidence: confidence ?? (observed ? 'proven' : 'likely'),
        nodes: [node.id],
        message: `The Docker API ${how} on ${where} of ${node.id} without TLS client verification${local ? ' (loopback: any local user or host-network container is root)' : ''}${shield === null ? '' : ' (only the host’s firewall hides it from other machines; containers and local users reach it)'}${observed ? '' : '; the listener itself was not seen'}`,
        cites: [...at, ...extra, ...(shield === null ? [] : [cite(shield.fact, shield)])],
        disprove: 'dockerd runs with tlsverify and a CA, or nothing listens there',
      });
    }

    /** What drops a new connection from another machine, wherever it comes in by the default route's device; null: nothing, or not known. */
    function shielded(where: string): Decider | null {
      const host = hookNode(source);
      const out = routeTo(host, OUTSIDE);
      const port = Number(/(\d+)$/.exec(where)?.[1]);
      if (out === null || !Number.isInteger(port)) return null;
      const own = host.host.devices.byName.get(out.dev)?.addresses.find((a) => typeof a.addr === 'number');
      if (own === undefined) return null;
      const near = out.via === null ? OUTSIDE : formatAddr(out.via);
      const answers = [OUTSIDE, near].map((src) =>
        askInput(host, { src, dst: formatAddr(own.addr), proto: 'tcp', dport: port, iif: out.dev }),
      );
      return answers.every((a) => a.verdict === 'drop') ? (answers[0]?.deciders[0] ?? null) : null;
    }

    function tlsAbsence(): Cite | null {
      return daemonJson.missing || !isClosed(daemonJson) ? null : absent(daemonJson, '"tlsverify": true');
    }

    function tlsVerify(): Cite | null {
      if (!dockerdArgs.missing) {
        const on = flag(dockerdArgs.value, 'tlsverify');
        if (on !== undefined && on.value !== 'false') return cite(dockerdArgs, on);
      }
      if (!daemonJson.missing) {
        const on = setting(daemonJson.value, 'tlsverify');
        if (on?.value === true) return cite(daemonJson, on);
      }
      // not running: what the unit would start it with
      const start = dockerdArgs.missing ? startLine() : null;
      return start !== null && /\s--?tlsverify(=true)?(\s|$)/.test(start.value) ? start.cite : null;
    }

    function startLine(): { value: string; cite: Cite } | null {
      if (dockerUnit.missing) return null;
      const start = dockerUnit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
      return start === undefined ? null : { value: start.value, cite: cite(dockerUnit, start) };
    }

    /** Ports that dockerd opens for something else: metrics, the network's diagnostics. */
    function otherPorts(): Set<number> {
      const ports = new Set<number>();
      const take = (text: unknown) => ports.add(Number(/(\d+)$/.exec(String(text))?.[1] ?? 0));
      for (const name of ['metrics-addr', 'network-diagnostic-port']) {
        if (!dockerdArgs.missing) for (const f of flags(dockerdArgs.value, name)) take(f.value);
        const written = daemonJson.missing ? undefined : setting(daemonJson.value, name);
        if (written !== undefined) take(written.value);
      }
      return ports;
    }

    /** Published ports, which dockerd itself listens on where no docker-proxy does, to keep others off them; null: it does, and they are not known. */
    function keptPorts(): Set<number> | null {
      const { dockerContainers } = wants;
      if (!dockerContainers.missing) {
        const ports = dockerContainers.value.containers.flatMap((c) =>
          c.ports.flatMap((p) => (p.proto === 'tcp' ? (p.hostPort ?? []) : [])),
        );
        if (isClosed(dockerContainers) || !withoutProxy()) return new Set(ports);
      }
      return withoutProxy() ? null : new Set();
    }

    function withoutProxy(): boolean {
      if (!dockerdArgs.missing && flag(dockerdArgs.value, 'userland-proxy')?.value === 'false') return true;
      return !daemonJson.missing && setting(daemonJson.value, 'userland-proxy')?.value === false;
    }

    function configuredHosts(): { value: string; at: Cite }[] {
      const hosts: { value: string; at: Cite }[] = [];
      if (!dockerdArgs.missing)
        for (const h of flags(dockerdArgs.value, 'H', 'host')) hosts.push({ value: h.value, at: cite(dockerdArgs, h) });
      if (!daemonJson.missing) {
        for (const h of elements(daemonJson.value, 'hosts'))
          if (typeof h.value === 'string') hosts.push({ value: h.value, at: cite(daemonJson, h) });
      }
      const start = dockerdArgs.missing ? startLine() : null;
      for (const m of start?.value.matchAll(/(?:-H|--host)[= ]?\s*"?(tcp:[^\s"]+)/g) ?? [])
        if (start !== null) hosts.push({ value: m[1] ?? '', at: start.cite });
      return hosts;
    }
  },
});

/** Red Hat's Docker 1.13 has a suffix, older ones no d. */
const DAEMON = /^docker(d|d?-current|d?-latest)?$/;

/** 2377 (swarm management) and 7946 (gossip) belong to dockerd too, with their own mutual TLS. */
const swarmPort = (port: number) => port === 2377 || port === 7946;

function tcpHost(value: string): { address: string; port: number } | null {
  const match = /^tcp:\/\/(\[[^\]]*\]|[^:/]*)(?::(\d+))?/.exec(value);
  return match === null ? null : { address: match[1] || '0.0.0.0', port: Number(match[2] ?? 2375) };
}
