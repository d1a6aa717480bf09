import { formatPrefix, parseIp, parsePrefix, prefixContains } from '../../src/core/address.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { OUTSIDE, outward, POD_KINDS, POD_PROBES, podNetworks } from '../../src/derive/pods.ts';
import { askEgress, type Decider, HOOK_WANTS, hookNode, RULESET_KINDS, routesThrough } from '../../src/net/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
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
  wants: [...HOOK_WANTS, ...POD_KINDS],
  explains: ['trace-pod-to-service-and-external'],
  evaluate({ node, facts, source }) {
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
          else
            tally.fault({
              key: `${decider.text} in ${decider.place}`,
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
    if (asked) return tally.verdict([cite(addresses, { line: 1 })]);
    if (nets.length === 0 && !isClosed(addresses))
      return unknown(node.id, 'the list of the node’s devices was not collected whole', [addresses.evidence]);
    return notApplicable('no rule gives what containers send to the outside another address');
  },
});

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
