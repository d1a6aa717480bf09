import { formatPrefix, parseIp, parsePrefix, prefixContains } from '../../src/core/address.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { containerBridges, isFlannel } from '../../src/derive/devices.ts';
import { isOneMachine } from '../../src/derive/one-machine.ts';
import { OUTSIDE, outward, POD_KINDS, POD_PROBES, podNetworks } from '../../src/derive/pods.ts';
import type { InterfaceAddress } from '../../src/facts/index.ts';
import { askEgress, type Decider, HOOK_WANTS, hookNode, RULESET_KINDS, routesThrough } from '../../src/net/index.ts';
import type { Finding, NodeVerdict, NodeView } from '../../src/rule/index.ts';
import { cite, defineClusterRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { joinVerdicts } from '../../src/rule/joined.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

/** One node: what it says of itself, addresses that its rules give and it does not have, and those that it has beside its own. */
interface Translations {
  readonly verdict: NodeVerdict;
  readonly lacks: Readonly<Record<string, string>>;
  readonly virtual: readonly string[];
}

const WANTS = [...HOOK_WANTS, ...POD_KINDS] as const;
type View = NodeView<'addresses' | 'routes4', (typeof WANTS)[number]>;

export const rule = defineClusterRule({
  id: 'snat-source-unexpected',
  title: {
    bad: 'Containers are translated to an address that the node does not have',
    good: 'Containers are translated to an address of the node',
  },
  severity: 'high',
  explanation:
    'A rule with a fixed address (SNAT --to-source) stays when the address moves or goes: requests leave with it, and nobody on the network answers ARP for it, ' +
    'or another machine does. The answers never come back to this node; the node itself reaches the outside as before.',
  remediation: [
    {
      step: 'Give the node the address back, or let the kernel choose one that it has: MASQUERADE in place of SNAT.',
      run: 'iptables -t nat -I POSTROUTING -s <subnet> -o <uplink> -j MASQUERADE',
      verify: 'conntrack -L -s <container IP>   # the reply tuple has an address of the node',
      undo: 'iptables -t nat -D POSTROUTING -s <subnet> -o <uplink> -j MASQUERADE',
    },
  ],
  references: [REF.dockerFirewall, REF.flannelReservations],
  needs: ['addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: WANTS,
  explains: ['trace-pod-to-service-and-external'],
  extract(view): Translations {
    const lacks: Record<string, string> = {};
    const verdict = judge(view, lacks);
    const bridges = new Set(containerBridges(view.source).map((b) => b.name));
    const virtual = view.facts.addresses.value.devices
      .filter((d) => !bridges.has(d.name) && !isFlannel(d.name))
      .flatMap((d) => d.addresses.filter((a) => a.family === 4 && a.scope === 'global').filter(isVirtual))
      .map((a) => a.address);
    return { verdict, lacks, virtual };
  },
  evaluate(digests) {
    const all = [...digests];
    const sought = new Set(all.flatMap((d) => Object.values(d.digest.lacks)));
    const holders = sought.size === 0 ? [] : all.filter((d) => d.digest.virtual.some((a) => sought.has(a)));
    return joinVerdicts(
      all.map(({ node, digest: { verdict } }) => ({ node, verdict })),
      (finding, node) => {
        const own = digests.get(node);
        const address = own?.digest.lacks[finding.key] ?? '';
        const holder = holders.find(
          (h) => own !== undefined && !isOneMachine(h, own) && h.digest.virtual.includes(address),
        );
        return holder === undefined ? finding : onStandby(finding, address, holder.node);
      },
    );
  },
});

/** Not the address that a device was given first, or one without a network. */
const isVirtual = (a: InterfaceAddress, i: number): boolean => i > 0 || a.secondary || a.prefixLength > 30;

/** A virtual address of keepalived and the like is on one of several nodes, and all of them have the rule. */
function onStandby(finding: Finding, address: string, holder: string): Finding {
  return {
    ...finding,
    severity: 'medium',
    confidence: 'possible',
    message: `${finding.message}; ${holder} has ${address}: if it is a virtual address that moves, containers here have no answers until it comes here`,
    disprove: `${address} moves between the nodes, and no container is to reach the outside from the node that stands by`,
  };
}

function judge({ node, facts, source }: View, lacks: Record<string, string>): NodeVerdict {
  const { addresses, routes4 } = facts;
  const host = hookNode(source);
  const nets = podNetworks(source);
  const devices = addresses.value.devices;
  const own = new Set(devices.flatMap((d) => d.addresses.map((a) => a.address)));
  const locals = routes4.value.routes.filter((r) => r.type === 'local').map((r) => parsePrefix(r.dst));
  const tally = new NodeTally(node.id);
  let asked = false;
  for (const net of nets) {
    for (const out of routesThrough(host, outward(net))) {
      if (out.dev === net.bridge.name) continue;
      for (const probe of POD_PROBES) {
        const packet = { src: net.sample, dst: OUTSIDE, ...probe, iif: net.bridge.name, oif: out.dev };
        const answer = askEgress(host, packet, out.via);
        const [decider] = answer.deciders;
        if (answer.verdict !== 'translated' || decider === undefined) continue;
        asked = true;
        const fixed = fixedSource(decider.text);
        if (fixed === null) {
          tally.passed([cite(decider.fact, decider)]);
          continue;
        }
        const ip = parseIp(fixed);
        const here = ip !== null && (own.has(fixed) || locals.some((p) => p !== null && prefixContains(p, ip)));
        if (here) {
          tally.passed([cite(decider.fact, decider)]);
          continue;
        }
        const what = `whether answers to ${fixed}, which ${formatPrefix(net.prefix)} is translated to, come back`;
        const onLink = devices
          .find((d) => d.name === out.dev)
          ?.addresses.find((a) => {
            const prefix = a.family === 4 ? parsePrefix(`${a.address}/${a.prefixLength}`) : null;
            return ip !== null && prefix !== null && prefixContains(prefix, ip);
          });
        if (!isClosed(addresses) || !isClosed(routes4))
          tally.unknown(`${what}: the node’s addresses were not collected whole`, ['ip.addr', 'ip.route4']);
        // a router may send an address of another network here by a route of its own
        else if (onLink === undefined)
          tally.unknown(
            `${what}: the node does not have it, and whether the routers outside send it here is not in the evidence`,
            [],
          );
        else {
          const key = `${decider.text} in ${decider.place}`;
          lacks[key] = fixed;
          tally.fault({
            key,
            severity: 'high',
            confidence: 'likely',
            nodes: [node.id],
            message: `Containers of ${net.bridge.name} (${formatPrefix(net.prefix)}) leave ${node.id} by ${out.dev} as ${fixed}, which is no address of ${node.id}: answers do not come back`,
            cites: [cite(decider.fact, decider), cite(addresses, onLink), cite(net.bridge.fact, { line: net.line })],
            disprove: `a machine on the network of ${out.dev} that passes what is for ${fixed} on to ${node.id} (proxy ARP)`,
            remediation: [mend(decider, formatPrefix(net.prefix), out.dev, fixed)],
          });
        }
      }
    }
  }
  if (asked) return tally.verdict([cite(addresses, { line: 1 })]);
  if (nets.length === 0 && !isClosed(addresses))
    return unknown(node.id, 'the list of the node’s devices was not collected whole', [addresses.evidence]);
  return notApplicable('no rule gives what containers send to the outside another address');
}

/** The one address that a rule gives; null: the kernel chooses, or several may be given. */
function fixedSource(text: string): string | null {
  return (
    /--to-source (\d+(?:\.\d+){3})(?::|\s|$)/.exec(text)?.[1] ??
    /\bsnat (?:ip )?to (\d+(?:\.\d+){3})(?::|\s|$)/.exec(text)?.[1] ??
    null
  );
}

function mend(decider: Decider, subnet: string, dev: string, fixed: string) {
  const step = `Give the node ${fixed} back, or let the kernel choose an address that it has; then find out who wrote the rule.`;
  if (decider.place.startsWith('nft ')) return { step: `${step} In ${decider.place}: masquerade in place of snat.` };
  const table = `${iptablesOf(decider.fact.evidence)} -t nat`;
  const rule = `POSTROUTING -s ${subnet} -o ${dev} -j MASQUERADE`;
  return {
    step,
    run: `${table} -I ${rule}`,
    verify: `${table} -C ${rule} && echo translated`,
    undo: `${table} -D ${rule}`,
    risk: 'Outside, the containers have another address than before: access lists there may name the old one.',
  };
}
