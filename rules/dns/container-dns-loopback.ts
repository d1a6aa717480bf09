import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { KUBELET_KINDS, type KubeletSetting, kubeletSetting } from '../../src/derive/kubelet-setting.ts';
import { ownResolver } from '../../src/derive/own-resolver.ts';
import { podLinks } from '../../src/derive/pod-links.ts';
import {
  type ContainerResolver,
  containerResolvers,
  isOwnLoopback,
  type NameServer,
  nameServers,
} from '../../src/derive/resolvers.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Cite, Finding, Remediation, Undecided } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, findings, isClosed, notApplicable } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** Containers that ask one address of their own loopback, where nobody listens. */
interface Deaf {
  readonly server: string;
  /** All their servers are such; else another one answers after a refusal. */
  readonly alone: boolean;
  certain: boolean;
  readonly inodes: string[];
  readonly cites: Cite[];
}

/** More containers than this with one fault show nothing new. */
const SHOWN = 4;
const HOSTS = '/etc/resolv.conf';
const CONFIG = '/var/lib/kubelet/config.yaml';
/** systemd-resolved writes the servers of the network there, without its own stub. */
const RESOLVED = '/run/systemd/resolve/resolv.conf';
const AGAIN =
  'Then make the pods anew that have the old file: kubectl -n kube-system rollout restart deployment coredns, and others with dnsPolicy Default.';
const LOOK = 'kubectl -n kube-system logs -l k8s-app=kube-dns --tail=5   # no "Loop ... detected"';

/** Puts the setting into the kubelet's file. */
function byFile(config: string): Remediation {
  const f = shellWord(config);
  return {
    step: `Give the kubelet a file with the real name servers. Where systemd-resolved runs that is ${RESOLVED}; else write one, as /etc/kubernetes/resolv.conf, and name it in its place. ${AGAIN}`,
    run: `grep -q '^nameserver' ${RESOLVED} && f=${f} && cp -a "$f" "$f.before" && sed -i '/^resolvConf:/d' "$f" && printf '\\nresolvConf: ${RESOLVED}\\n' >>"$f" && systemctl restart kubelet`,
    verify: LOOK,
    undo: `f=${f}; mv "$f.before" "$f" && systemctl restart kubelet`,
    risk: 'none known: containers go on while the kubelet restarts',
  };
}

export const rule = defineNodeRule({
  id: 'container-dns-loopback',
  title: {
    bad: 'Containers are told to ask their own loopback for names',
    good: 'No container whose resolv.conf was collected asks a loopback address where nobody listens',
  },
  severity: 'high',
  explanation:
    'The loopback of a container is its own: a stub resolver of the node (127.0.0.53 of systemd-resolved, 127.0.0.1 of dnsmasq) is not there, and every name fails at once. ' +
    'CoreDNS inherits the file too (dnsPolicy Default), forwards questions to itself, and ends with "Loop ... detected".',
  remediation: [
    byFile(CONFIG),
    {
      step: 'Docker passes the node’s file on without loopback addresses; a container that has one all the same was given it (--dns, "dns" in daemon.json, a mount). Name a server of the network there, and make the container anew.',
      run: 'grep -n \'"dns"\' /etc/docker/daemon.json',
      verify: 'docker exec <container> cat /etc/resolv.conf',
    },
  ],
  references: [REF.kubeDns, REF.corednsLoop, REF.dockerDns],
  needs: [],
  needsAny: ['netnsResolvConf', 'kubeletArgs', 'kubeletConfig'],
  wants: [
    'netnsResolvConf',
    'netnsIndex',
    'netnsSockets',
    'netnsIptablesNft',
    'netnsIptablesLegacy',
    'netnsAddresses',
    'addresses',
    'links',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'resolvConf',
    ...KUBELET_KINDS,
  ],
  evaluate({ node, wants, source }) {
    const unknown: Undecided[] = [];
    const open = (because: string, evidence: readonly string[]) =>
      unknown.push({ nodes: [node.id], because, evidence });
    const containers = containerResolvers(source);
    const proofs: Cite[] = [];
    const deaf = new Map<string, Deaf>();
    for (const container of containers) judge(container);
    const setting = kubeletSetting(source, 'resolv-conf', 'resolvConf');
    const list = [...deaf.values()].flatMap((d) => told(d));
    const handed = handedOn(setting);
    // pods that were seen show what it leads to
    const seen = list.findIndex((f) => handed?.about?.includes(f.key));
    if (handed !== null && seen < 0) list.push(handed);
    else if (handed !== null) list[seen] = { ...(list[seen] as Finding), ...joined(list[seen] as Finding, handed) };
    if (isNonEmpty(list)) return findings(list, unknown);
    if (isNonEmpty(unknown)) return { kind: 'unknown', unknown };
    if (isNonEmpty(proofs)) return { kind: 'pass', cites: proofs };
    if (setting.kind === 'none' && podLinks(source).links.length === 0)
      return notApplicable('no container’s resolv.conf on this node, and no kubelet of its own');
    const because = 'no resolv.conf of a container was collected';
    return { kind: 'unknown', unknown: [{ nodes: [node.id], because, evidence: ['netns.resolv-conf'] }] };

    function judge({ inode, fact, servers }: ContainerResolver): void {
      const loops = servers.filter((s) => isOwnLoopback(s.address));
      const [first] = servers;
      if (first === undefined) silent(inode, fact);
      else if (loops.length === 0 && proofs.length < SHOWN) proofs.push(cite(fact, first));
      for (const server of loops) {
        const answer = ownResolver(source, inode, server.address);
        if (answer.kind === 'unknown')
          open(`netns/${inode} asks ${server.address}: ${answer.because}`, ['netns.ss-listen']);
        else if (answer.kind === 'none')
          note(inode, server, loops.length === servers.length, answer.certain, [
            cite(fact, server),
            ...(isClosed(answer.sockets)
              ? [absent(answer.sockets, `a listener on ${server.address} port 53 of UDP`)]
              : []),
          ]);
        else if (answer.by.includes('coredns'))
          open(
            `CoreDNS in netns/${inode} has ${server.address}, which is itself; whether its Corefile forwards to /etc/resolv.conf was not collected`,
            [],
          );
        else if (proofs.length < SHOWN) proofs.push(cite(fact, server));
      }
    }

    /** libc asks 127.0.0.1 then (resolv.conf(5)). */
    function silent(inode: string, fact: ContainerResolver['fact']): void {
      const { resolvConf } = wants;
      const answer = ownResolver(source, inode, '127.0.0.1');
      const own = resolvConf.missing ? [] : nameServers(resolvConf.value);
      if (answer.kind === 'answers' || !isClosed(fact)) return;
      if (answer.kind === 'unknown' || own.length === 0)
        open(
          `netns/${inode} has no name server${answer.kind === 'unknown' ? `, and ${answer.because}` : ', nor has the node: that may be meant'}`,
          ['sys.resolv-conf', 'netns.ss-listen'],
        );
      else note(inode, { address: 'no', line: 1 }, true, answer.certain, [absent(fact, 'a line nameserver')]);
    }

    function note(
      inode: string,
      { address }: NameServer,
      alone: boolean,
      certain: boolean,
      cites: readonly Cite[],
    ): void {
      const key = `${address} ${alone}`;
      const known = deaf.get(key) ?? { server: address, alone, certain, inodes: [], cites: [] };
      known.inodes.push(inode);
      known.certain &&= certain;
      if (known.inodes.length <= SHOWN) known.cites.push(...cites);
      deaf.set(key, known);
    }

    function told({ server, alone, certain, inodes, cites }: Deaf): readonly Finding[] {
      const [first, ...more] = cites;
      if (first === undefined) return [];
      const who = inodes.length === 1 ? 'A container' : `${inodes.length} containers`;
      const names = inodes.slice(0, SHOWN).map((i) => `netns/${i}`);
      const shown = `${names.join(', ')}${inodes.length > SHOWN ? ' ...' : ''}`;
      const has = inodes.length === 1 ? 'has' : 'have';
      const rest = alone ? '' : '; a further server answers after that refusal';
      return [
        {
          key: `${server}${alone ? '' : ' among others'}`,
          severity: server === 'no' ? 'medium' : alone ? 'high' : 'low',
          confidence: certain ? 'proven' : 'likely',
          nodes: [node.id],
          message:
            server === 'no'
              ? `${who} on ${node.id} (${shown}) ${has} no name server, so that 127.0.0.1 is asked, where nobody listens`
              : `${who} on ${node.id} (${shown}) ${has} ${server} as name server, where nobody listens${rest}`,
          cites: [first, ...more],
          disprove: 'a resolver in the container that had not started yet',
        },
      ];
    }

    /** What the kubelet gives pods of dnsPolicy Default, CoreDNS among them. */
    function handedOn(path: KubeletSetting): Finding | null {
      const { resolvConf } = wants;
      const servers = resolvConf.missing ? [] : nameServers(resolvConf.value);
      const [loop] = servers.filter((s) => isOwnLoopback(s.address));
      const file = path.kind === 'set' ? path.values.at(-1)?.text : path.kind === 'default' ? HOSTS : undefined;
      if (path.kind === 'none') return null;
      if (file !== undefined && file !== HOSTS) {
        if (proofs.length === 0 && containers.length === 0)
          open(`the file that the kubelet gives pods of dnsPolicy Default, ${file}, was not collected`, [
            'netns.resolv-conf',
          ]);
        return null;
      }
      if (resolvConf.missing) {
        if (file === HOSTS)
          open('the file that the kubelet gives pods, /etc/resolv.conf, was not collected', ['sys.resolv-conf']);
        return null;
      }
      if (loop === undefined) {
        const [first] = servers;
        if (first !== undefined && file === HOSTS && proofs.length < SHOWN) proofs.push(cite(resolvConf, first));
        return null;
      }
      if (path.kind === 'unknown') {
        open(
          `the node’s /etc/resolv.conf has ${loop.address}, and whether the kubelet gives that file to pods is not known: ${path.because}`,
          path.evidence,
        );
        return null;
      }
      const config = wants.kubeletArgs.missing ? undefined : flag(wants.kubeletArgs.value, 'config')?.value;
      const alone = servers.every((s) => isOwnLoopback(s.address));
      const from: readonly Cite[] =
        path.kind === 'set'
          ? path.values.slice(-1).map((v) => cite(v.fact, v.span))
          : path.args.closed && isClosed(path.args)
            ? [absent(path.args, '--resolv-conf (the kubelet’s default is /etc/resolv.conf)')]
            : [];
      return {
        key: 'kubelet',
        severity: alone ? 'medium' : 'low',
        confidence: 'likely',
        nodes: [node.id],
        latent: true,
        about: [loop.address],
        message: `The kubelet of ${node.id} gives pods of dnsPolicy Default, such as CoreDNS, the node’s own /etc/resolv.conf, which names ${loop.address}`,
        cites: [cite(resolvConf, loop), ...from],
        disprove: 'no pod of this node has dnsPolicy Default, or the Corefile forwards to fixed addresses',
        remediation: [
          path.kind === 'set' && path.by === 'flag' ? byFlag(path.values.at(-1)?.span.line) : byFile(config ?? CONFIG),
        ],
      };
    }
  },
});

const joined = (seen: Finding, handed: Finding): Partial<Finding> => ({
  message: `${seen.message}; the kubelet gives pods of dnsPolicy Default the node’s own /etc/resolv.conf`,
  cites: [seen.cites[0], ...seen.cites.slice(1), ...handed.cites],
  ...(handed.remediation === undefined ? {} : { remediation: handed.remediation }),
});

/** The flag wins over the file. */
function byFlag(line: number | undefined): Remediation {
  return {
    step: `The kubelet has its file from --resolv-conf (argument ${line ?? '?'} of its command line): change it where that line is made to ${RESOLVED}, or to a file with the real name servers, and restart the kubelet. ${AGAIN}`,
    run: 'systemctl cat kubelet; grep -n resolv-conf /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet /etc/sysconfig/kubelet',
    verify: LOOK,
    undo: 'put the old path back and restart the kubelet',
    risk: 'none known: containers go on while the kubelet restarts',
  };
}
