import { parseIp, parsePrefix, prefixContains } from '../../src/core/address.ts';
import { containerBridges, isFlannel } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Fact, MissingFact, Route } from '../../src/facts/index.ts';
import type { LineCite } from '../../src/rule/index.ts';
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

/** The two halves that VPN clients lay over a default route instead of replacing it. */
const HALVES = ['0.0.0.0/1', '128.0.0.0/1'];

export const rule = defineNodeRule({
  id: 'default-route-missing',
  title: { bad: 'The node has no default route', good: 'The node has a default route' },
  severity: 'high',
  explanation:
    'What no other route covers gets "network unreachable": containers lose everything outside the node’s own networks, while pods on other nodes go on answering. ' +
    'flanneld without --iface looks for its device by the default route, and ends at its next start ("unable to find default route").',
  remediation: [
    {
      step: 'Set the route again, and for good in the node’s network configuration (netplan, nmcli, ifcfg):',
      run: 'ip route add default via <gateway> dev <uplink>',
      verify: 'ip route get 198.41.0.4',
      undo: 'ip route del default via <gateway> dev <uplink>',
    },
    {
      step: 'A node that is kept apart from the outside on purpose needs explicit routes to its DNS servers and registry, and --iface for flanneld.',
    },
  ],
  references: [REF.flannelConfiguration, REF.ipSysctl],
  needs: ['routes4'],
  wants: [
    'rules4',
    'addresses',
    'links',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'flannelEnv',
    'flanneldArgs',
    'kubeletArgs',
    'resolvConf',
  ],
  explains: ['trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { routes4 } = facts;
    const { routes } = routes4.value;
    const { flanneldArgs, kubeletArgs, resolvConf, rules4 } = wants;
    if (
      containerBridges(source).length === 0 &&
      flannelLease(source) === null &&
      flanneldArgs.missing &&
      kubeletArgs.missing
    )
      return notApplicable('no container network on this node');
    if (isSixOnly(wants.addresses)) return notApplicable('the node has IPv6 alone to the outside');
    const unicast = routes.filter((r) => r.type === 'unicast');
    const everywhere = unicast.filter((r) => r.dst === '0.0.0.0/0');
    const inMain = everywhere.filter((r) => r.table === 'main');
    const alive = inMain.find((r) => !isDead(r));
    if (alive !== undefined) return pass(cite(routes4, alive));
    const halves = HALVES.map((dst) => unicast.find((r) => r.table === 'main' && r.dst === dst && !isDead(r)));
    const [low, high] = halves;
    if (low !== undefined && high !== undefined) return pass(cite(routes4, low), cite(routes4, high));
    if (!isClosed(routes4)) return unknown(node.id, 'the node’s routes were not collected whole', [routes4.evidence]);
    const [dead] = inMain;
    if (dead !== undefined)
      return unknown(
        node.id,
        `the default route (${routes4.path}:${dead.line}) is dead for now: ${dead.dev ?? 'its device'} has no carrier`,
        ['ip.route4'],
      );
    const [other] = everywhere;
    if (other !== undefined)
      return unknown(
        node.id,
        `the main table has no default route, table ${other.table} has: for which packets policy rules say`,
        ['ip.rule4'],
      );
    if (!routes4.value.allTables)
      return unknown(node.id, 'the main table has no default route, and other tables were not collected', [
        'ip.route4',
      ]);
    const forVrf = rules4.missing ? undefined : rules4.value.rules.find((r) => r.l3mdev === true);
    if (forVrf !== undefined)
      return unknown(node.id, 'the node’s devices may be in a VRF: which table is theirs was not followed', [
        'ip.rule4',
      ]);
    // somebody gave the node routes of its own in place of the default one: it may be kept apart on purpose
    const servers = resolvConf.missing ? [] : nameservers(resolvConf);
    const unreached = servers.find(({ address }) => !covers(unicast, address));
    const iface = flanneldArgs.missing
      ? undefined
      : flag(flanneldArgs.value, 'iface', 'iface-regex', 'iface-can-reach');
    const meant = servers.length > 0 && unreached === undefined && iface !== undefined;
    const effect =
      unreached === undefined
        ? 'what no other route covers is unreachable for the node and its containers'
        : `its DNS server ${unreached.address} and all that no other route covers are unreachable for the node and its containers`;
    return findings([
      {
        key: 'default',
        severity: meant ? 'info' : 'high',
        confidence: unreached !== undefined ? 'proven' : meant ? 'possible' : 'likely',
        nodes: [node.id],
        message: `${node.id} has no IPv4 default route: ${effect}`,
        cites: [
          absent(routes4, 'a default route (0.0.0.0/0)'),
          ...(unreached === undefined ? [] : [unreached.cite]),
          ...(meant && iface !== undefined && !flanneldArgs.missing ? [cite(flanneldArgs, iface)] : []),
        ],
        disprove:
          'a node that is kept apart from the outside on purpose, with routes to its DNS servers and its registry',
      },
    ]);
  },
});

/** A route that the kernel passes over while its device has no carrier. */
const isDead = (r: Route): boolean =>
  r.nexthops.length === 0 ? r.flags.includes('dead') : r.nexthops.every((h) => h.flags.includes('dead'));

/** Of devices that containers do not have: addresses of IPv6, and none of IPv4. */
function isSixOnly(addresses: Fact<'addresses'> | MissingFact<'addresses'>): boolean {
  if (addresses.missing) return false;
  const outer = addresses.value.devices
    .filter((d) => !isFlannel(d.name) && !/^(lo$|cni|docker|br-|veth|podman|kube-)/.test(d.name))
    .flatMap((d) => d.addresses.filter((a) => a.scope === 'global'));
  return outer.length > 0 && outer.every((a) => a.family === 6);
}

/** IPv4 servers that are not the node itself (a stub of systemd-resolved tells nothing of routes). */
function nameservers(fact: Fact<'resolvConf'>): readonly { readonly address: string; readonly cite: LineCite }[] {
  return fact.value.lines.flatMap((line) => {
    const address = /^nameserver\s+(\d+(?:\.\d+){3})\s*$/.exec(line.text)?.[1];
    return address === undefined || address.startsWith('127.') ? [] : [{ address, cite: cite(fact, line) }];
  });
}

function covers(routes: readonly Route[], address: string): boolean {
  const ip = parseIp(address);
  return (
    ip !== null &&
    routes.some((r) => {
      const prefix = parsePrefix(r.dst);
      return prefix !== null && prefixContains(prefix, ip);
    })
  );
}
