import { formatPrefix, isGlobal, parseIp, parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { attachedBridges, type Source } from '../../src/derive/devices.ts';
import { DOCKER_DAEMON_KINDS, type Told, unmasqueraded, writesRules } from '../../src/derive/docker-daemon.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import {
  defaultDevice,
  OUTSIDE,
  outward,
  POD_KINDS,
  POD_PROBES,
  type PodNetwork,
  podNetworks,
  routedPods,
} from '../../src/derive/pods.ts';
import { spared, WHO_LIVES } from '../../src/derive/single-addresses.ts';
import {
  askEgress,
  type Decider,
  formatAddr,
  HOOK_WANTS,
  hookNode,
  type NatAnswer,
  RULESET_KINDS,
  routesThrough,
} from '../../src/net/index.ts';
import type { Cite, Finding, Remediation, Undecided } from '../../src/rule/index.ts';
import { absent, cite, defineClusterRule, isClosed } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

interface Candidate {
  readonly subnet: string;
  /** The router that its packets to the outside go to. */
  readonly gateway: string | null;
  readonly finding: Finding;
}

/** One node's answer, before the question whether a gateway of the case routes the subnet back. */
interface Egress {
  readonly candidates: readonly Candidate[];
  readonly passes: readonly Cite[];
  readonly unknown: readonly Undecided[];
  readonly because: string;
  /** The node's own addresses, and the subnets it routes and by whom. */
  readonly own: readonly string[];
  readonly routes: readonly (readonly [dst: string, via: string])[];
}

export const rule = defineClusterRule({
  id: 'egress-masquerade-missing',
  title: {
    bad: 'Containers leave the node with their private address: nothing translates it',
    good: 'Container addresses are translated on their way out',
  },
  severity: 'high',
  explanation:
    'A private source address is meaningless to the rest of the network, so the request may arrive but the answer is sent elsewhere. ' +
    'The classic causes are a flushed nat table, a stopped flanneld (before 0.27 it removes its rules), or dockerd with iptables=false, or with ip-masq=false and a flanneld without --ip-masq.',
  remediation: [
    {
      step: 'Let the owner write its rules again: systemctl restart docker, or flanneld with --ip-masq. By hand:',
      run: 'iptables -t nat -A POSTROUTING -s <subnet> ! -d <cluster range> ! -o <bridge> -j MASQUERADE',
      verify: 'conntrack -L -s <pod IP>   # the reply tuple has the node’s address',
      undo: 'iptables -t nat -D POSTROUTING -s <subnet> ! -d <cluster range> ! -o <bridge> -j MASQUERADE',
    },
  ],
  references: [REF.dockerFirewall, REF.flannelReservations, REF.flannelTroubleshooting],
  needs: ['addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: [...HOOK_WANTS, ...POD_KINDS, ...DOCKER_DAEMON_KINDS],
  explains: ['trace-pod-to-service-and-external'],
  extract({ node, facts, wants, source }): Egress {
    const routes = facts.routes4.value.routes;
    const candidates: Candidate[] = [];
    const passes: Cite[] = [];
    const unknown: Undecided[] = [];
    const host = hookNode(source);
    const base = {
      own: facts.addresses.value.devices.flatMap((d) => d.addresses.map((a) => a.address)),
      routes: routes.flatMap((r): [string, string][] => (r.via === undefined ? [] : [[r.dst, r.via]])),
    };
    const nothing = (because: string): Egress => ({ ...base, candidates, passes, unknown, because });
    const { doubt } = attachedBridges(source);
    if (doubt !== null) unknown.push({ nodes: [node.id], because: doubt, evidence: ['ip.addr', 'bridge.brctl-show'] });
    const writes = writesRules(source);
    const masqOff = unmasqueraded(source);
    const announcer = routes.find((r) => /^(bird|bgp|zebra|eigrp|isis|ospf|186|188|189|191|192)$/.test(r.proto ?? ''));
    let reason = 'no container network with a port and an IPv4 address on this node';
    const routed = routedPods(source);
    for (const net of [...podNetworks(source), ...routed]) {
      const subnet = formatPrefix(net.prefix);
      const sample = parseIp(net.sample);
      const ways = routesThrough(host, outward(net));
      if (ways.length === 0) {
        const way = defaultDevice(source);
        reason = 'no route to the outside on this node';
        if (way === null) {
          if (!isClosed(facts.routes4))
            unknown.push({
              nodes: [node.id],
              because: `which way packets of ${net.bridge.name} to the outside leave: the node’s routes were not collected whole`,
              evidence: [facts.routes4.evidence],
            });
          continue;
        }
        const because = `which way packets of ${net.bridge.name} to the outside leave: there is a default route by ${way}, but policy rules that could send them elsewhere were not read`;
        unknown.push({ nodes: [node.id], because, evidence: ['ip.rule4'] });
        continue;
      }
      const network = wants.dockerNetworks.missing
        ? undefined
        : wants.dockerNetworks.value.networks.find((n) => n.bridge === net.bridge.name);
      // dockerd itself writes the option where it may write no rules; and where it leaves the pods' network to flannel, flannel has to do it
      const dockers = network !== undefined || /^(docker0|docker_gwbridge|br-[0-9a-f]{12})$/.test(net.bridge.name);
      const told = writes.answer === 'no' && dockers && !net.clustered ? writes : null;
      const given = told === null && !net.clustered;
      const declared =
        (given && network?.options['com.docker.network.bridge.enable_ip_masquerade'] === 'false') ||
        network?.options['com.docker.network.bridge.gateway_mode_ipv4'] === 'routed';
      for (const out of ways) {
        if (net.bridge.name === out.dev) continue;
        if (given && net.bridge.name === 'docker0' && masqOff !== null)
          reason = 'docker is told not to masquerade docker0';
        else if (declared) reason = `network ${network?.name} is declared without masquerading`;
        else if (sample !== null && isGlobal(sample)) reason = `${subnet} is publicly routable`;
        else {
          const asked = POD_PROBES.map((probe) => {
            const packet = { src: net.sample, dst: OUTSIDE, ...probe, iif: net.bridge.name, oif: out.dev };
            return { proto: probe.proto, ...askEgress(host, packet, out.via) };
          });
          const bare = asked.filter((r) => r.verdict === 'none');
          const fares = (src: string) =>
            askEgress(host, { ...outward(net), src, oif: out.dev }, out.via).verdict !== 'none';
          const other = bare.length === 0 ? null : spared(source, net, fares);
          const open = asked.find((r) => r.verdict === 'unknown');
          const because = `whether ${subnet} is translated`;
          if (other !== null)
            unknown.push({
              nodes: [node.id],
              because: `${because}: ${net.sample} is not, ${other} may be, and which addresses containers have was not collected`,
              evidence: WHO_LIVES,
            });
          else if (bare.length > 0 && announcer !== undefined)
            unknown.push({
              nodes: [node.id],
              because: `${because}: nothing does so, but the node has routes of a routing daemon (proto ${announcer.proto}), which may announce the subnet`,
              evidence: [facts.routes4.evidence],
            });
          else if (bare.length > 0 && routed.includes(net))
            unknown.push({
              nodes: [node.id],
              because: `${because} (a pod’s, by ${net.bridge.name}): nothing does so, but what made its route may also have made its address known outside (AWS VPC CNI, Calico)`,
              evidence: ['cni.conf'],
            });
          else if (bare.length > 0) {
            const gateway = out.via === null ? null : formatAddr(out.via);
            const finding = untranslated(node.id, net, out, bare, source, told);
            const key = ways.length === 1 ? finding.key : `${finding.key} ${out.dev}`;
            candidates.push({ subnet, gateway, finding: { ...finding, key } });
          } else if (open !== undefined)
            unknown.push({ nodes: [node.id], because: `${because}: ${open.because}`, evidence: open.evidence });
          else passes.push(...asked.flatMap((r) => r.deciders.slice(0, 1).map((d) => cite(d.fact, d))));
        }
      }
    }
    return nothing(reason);
  },
  evaluate(digests) {
    const findings: Finding[] = [];
    const passes = [];
    const unknown: Undecided[] = [];
    const notApplicable: { nodes: [string]; because: string }[] = [];
    const owner = new Map<string, Egress>();
    for (const d of digests) for (const a of d.digest.own) if (!a.startsWith('127.')) owner.set(a, d.digest);
    for (const d of digests) {
      const { candidates, because } = d.digest;
      // the collected gateway itself may route the subnet back by this node: then nothing needs translation
      const routed = ({ subnet, gateway }: Candidate) => {
        const router = gateway === null ? undefined : owner.get(gateway);
        const inner = parsePrefix(subnet);
        return router?.routes.some(([dst, via]) => {
          const outer = parsePrefix(dst);
          return (
            outer !== null &&
            inner !== null &&
            outer.length > 0 &&
            prefixCovers(outer, inner) &&
            d.digest.own.includes(via)
          );
        });
      };
      const real = candidates.filter((c) => routed(c) !== true);
      findings.push(...real.map((c) => c.finding));
      unknown.push(...d.digest.unknown);
      if (real.length > 0 || d.digest.unknown.length > 0) continue;
      if (isNonEmpty(d.digest.passes)) passes.push({ node: d.node, cites: d.digest.passes });
      else
        notApplicable.push({
          nodes: [d.node],
          because: candidates.length > 0 ? 'the gateway routes the subnet back by this node' : because,
        });
    }
    return { findings, passes, unknown, notApplicable };
  },
});

/** How the owner of a bridge is made to write its rules again. */
function rewrites(bridge: string): string {
  if (/^(cni-)?podman/.test(bridge)) return 'podman network reload --all';
  if (/^lxdbr/.test(bridge)) return 'systemctl restart lxd (snap: systemctl restart snap.lxd.daemon)';
  if (/^incusbr/.test(bridge)) return 'systemctl restart incus';
  return 'systemctl restart docker, or flanneld with --ip-masq';
}

function untranslated(
  node: string,
  net: PodNetwork,
  out: ReturnType<typeof routesThrough>[number],
  bare: readonly (NatAnswer & { readonly proto: string })[],
  source: Source<'iptables' | 'flannelEnv'>,
  told: Told | null,
): Finding {
  const subnet = formatPrefix(net.prefix);
  const { name } = net.bridge;
  const all = bare.length === POD_PROBES.length;
  const protos = all ? '' : ` (${bare.map((b) => b.proto).join(', ')})`;
  const rules = source.get('iptables');
  const what = `a rule of nat POSTROUTING that translates ${subnet} leaving by ${out.dev}`;
  const proof: Cite[] = !rules.missing && isClosed(rules) ? [absent(rules, what)] : [];
  const chain = rules.missing ? undefined : rules.value.tables.get('nat')?.chains.get('POSTROUTING');
  const ends = new Map<string, Cite>();
  if (!rules.missing && chain !== undefined) ends.set(`${rules.path} ${chain.line}`, cite(rules, { line: chain.line }));
  for (const d of bare.flatMap((b) => b.deciders)) ends.set(`${d.fact.path} ${d.line}`, cite(d.fact, d));
  // in front: what ends the chain early may be the very reason; and never pod-to-pod traffic
  const cluster = net.clustered ? flannelLease(source)?.network?.prefix : undefined;
  const inside = cluster === undefined ? '' : ` ! -d ${formatPrefix(cluster)}`;
  const run = `iptables -t nat -I POSTROUTING -s ${subnet}${inside} ! -o ${shellWord(name)} -j MASQUERADE`;
  // what raw keeps untracked passes no nat table: the owner's rules may well be there
  const exempt = bare.flatMap((b) => b.deciders).find((d) => /notrack/i.test(d.text));
  if (exempt !== undefined) ends.delete(`${exempt.fact.path} ${exempt.line}`);
  const why =
    told !== null
      ? ', and docker is told to write no rules'
      : exempt !== undefined
        ? `: "${exempt.text}" keeps their connections untracked, and nothing translates those`
        : '';
  const shown: NonEmpty<Cite> = [
    cite(net.bridge.fact, { line: net.line }),
    ...out.cites.map((c) => cite(c.fact, c)),
    ...proof,
    ...ends.values(),
    ...(told === null ? [] : [cite(told.fact, told.span)]),
  ];
  return {
    key: `${name} ${subnet}${protos}`,
    severity: all ? 'high' : 'medium',
    // rules for single addresses may translate the real ones
    // who tells docker to write none may have meant it, with a router that knows the way back
    confidence: net.live && told === null ? 'proven' : 'likely',
    nodes: [node],
    message: `Containers of ${name} (${subnet}) leave ${node} with their private address${protos}: no SNAT covers them on the way out by ${out.dev}${why}`,
    cites: exempt === undefined ? shown : [cite(exempt.fact, exempt), ...shown],
    remediation: [exempt === undefined ? rewrite() : track(exempt)],
    disprove: 'a router outside that has a route back to the subnet by this node',
  };

  function rewrite(): Remediation {
    return {
      step:
        told === null
          ? `Let the owner write its rules again: ${rewrites(name)}. By hand:`
          : `Remove ${told.fact.kind === 'daemonJson' ? '"iptables": false from /etc/docker/daemon.json' : '--iptables=false from dockerd’s options'} and restart docker, or keep rules of your own:`,
      run,
      verify: `iptables-save -t nat | grep -- '-s ${subnet}'`,
      undo: run.replace(' -I ', ' -D '),
      risk: 'none known',
    };
  }
}

/** The connections that a rule of raw exempts are tracked again. */
function track({ fact, place, text }: Decider): Remediation {
  const step = 'Delete the rule that exempts them from connection tracking, or narrow it to what needs no translation.';
  if (!text.startsWith('-A ')) return { step: `${step} It is in ${place}.` };
  const raw = `${iptablesOf(fact.evidence)} -t raw`;
  return {
    step,
    run: `${raw} -D ${text.slice('-A '.length)}`,
    verify: 'conntrack -L -s <container IP>   # its connections are listed, with an address of the node in the reply',
    undo: `${raw} ${text}`,
    risk: 'Connections of that kind take room in the table of connections again.',
  };
}
