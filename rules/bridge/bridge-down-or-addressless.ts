import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import type { ContainerBridge } from '../../src/derive/devices.ts';
import { containerBridges, isUp, tellsPorts } from '../../src/derive/devices.ts';
import { putBack } from '../../src/derive/gateway-remedy.ts';
import { configuredGateways, defaultGateway, type Gateway, gatewaysOf, leadsTo } from '../../src/derive/gateways.ts';
import { bridgePortsFound, type CableEnd, type ContainerPort, cableEnds } from '../../src/derive/ports.ts';
import { sysctl } from '../../src/derive/settings.ts';
import type { LinkDevice } from '../../src/facts/index.ts';
import type { Cite, Finding, LineCite, Remediation, Undecided } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const MOST_CITED = 6;

/** What containers of one bridge take for their gateway, and which of them. */
interface Expected {
  readonly gateway: Gateway;
  readonly ends: CableEnd[];
}

const KEEP_OFF: Remediation = {
  step: 'Keep programs that manage devices off it (NetworkManager: unmanaged-devices=interface-name:cni*;interface-name:docker*;interface-name:br-*;interface-name:veth*).',
};

export const rule = defineNodeRule({
  id: 'bridge-down-or-addressless',
  title: {
    bad: 'A container bridge is down, or does not have the address that its containers take for their gateway',
    good: 'Container bridges are up and have their containers’ gateway address',
  },
  severity: 'critical',
  explanation:
    'The address of the bridge is the gateway of its containers, and a bridge that is down passes nothing, not even between two of them. ' +
    'What containers still remember of the gateway hides a lost address for about a minute, then everything outside their own network is gone.',
  remediation: [
    {
      step: 'Set the bridge up.',
      run: 'ip link set dev <bridge> up',
      verify: 'ip link show dev <bridge>   # UP among the flags',
      undo: 'ip link set dev <bridge> down',
    },
    {
      step: 'Give the bridge its address back: restarting docker does it for docker’s networks; for a CNI bridge add the address, or delete the bridge and make its pods anew.',
      run: 'ip addr add <gateway>/<bits> brd + dev <bridge>',
      verify: 'ip -4 addr show dev <bridge>; ip route show dev <bridge>',
      undo: 'ip addr del <gateway>/<bits> dev <bridge>',
    },
    KEEP_OFF,
  ],
  references: [REF.kernelBridge, REF.dockerBridge, REF.cniBridge],
  needs: ['addresses'],
  wants: [
    'links',
    'bridges',
    'sysfs',
    'sysctl',
    'routes4',
    'netnsAddresses',
    'netnsRoutes4',
    'dockerNetworks',
    'dockerContainers',
    'daemonJson',
    'dockerdArgs',
    'cniConf',
    'flannelEnv',
  ],
  explains: ['egress-masquerade-missing', 'trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { addresses } = facts;
    const { links, routes4, dockerNetworks } = wants;
    const found: Finding[] = [];
    const open: Undecided[] = [];
    const proof: Cite[] = [];
    const aside: { readonly because: string; readonly cite: Cite }[] = [];
    const doubt = (because: string, evidence: readonly string[]) => open.push({ nodes: [node.id], because, evidence });

    const { context } = node;
    const bridges = containerBridges(source);
    if (
      bridges.length > 0 &&
      context.netns !== null &&
      context.pid1netns !== null &&
      context.netns !== context.pid1netns
    )
      return unknown(
        node.id,
        'the collector ran inside a network namespace of its own: these are not the node’s bridges',
        ['ip.addr'],
      );
    const endOf = cableEnds(source);
    for (const bridge of bridges) judge(bridge);
    if (isNonEmpty(found)) return findings(found, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    if (!addresses.closed)
      return unknown(node.id, 'the list of the node’s devices was not collected whole', ['ip.addr']);
    const [first, ...more] = proof;
    if (first !== undefined) return pass(first, ...more.slice(0, MOST_CITED));
    const [reason] = aside;
    if (reason !== undefined) return notApplicable(reason.because, aside.map((a) => a.cite).slice(0, MOST_CITED));
    return notApplicable('no container is attached to a bridge of this node');

    function judge(bridge: ContainerBridge): void {
      const { name, device } = bridge;
      const { containers, ways } = bridgePortsFound(source, bridge, endOf);
      if (bridge.ports.length === 0 && !tellsPorts(source, name)) {
        const [said] = configuredGateways(source, name).gateways;
        const own = said === undefined || !isUp(device) ? undefined : addressOf(device, said.address);
        if (said !== undefined && own !== undefined) proof.push(cite(addresses, own), cite(said.fact, said.span));
        else doubt(`whether a container is attached to ${name} was not collected`, ['ip.addr', 'bridge.brctl-show']);
        return;
      }
      const [port] = containers;
      if (port === undefined) return;
      if (device.master !== undefined)
        return void doubt(`${name} is itself a port of ${device.master}: whose address counts is not judged`, [
          'ip.link',
        ]);
      const seen = [device, ...(links.missing ? [] : links.value.devices.filter((d) => d.name === name))];
      const down = seen.filter((d) => !isUp(d));
      if (down.length > 0 && down.length < seen.length)
        return void doubt(`${name} went up or down while it was collected`, ['ip.link', 'ip.addr']);
      if (down.length > 0) reportDown(bridge, containers);
      else judgeAddress(bridge, containers, ways.length > 0);
    }

    function reportDown({ name, device }: ContainerBridge, containers: readonly ContainerPort[]): void {
      const word = shellWord(name);
      found.push({
        key: `${name} down`,
        severity: 'critical',
        confidence: containers.some((c) => c.end !== null) ? 'proven' : 'likely',
        nodes: [node.id],
        message: `${name} is down on ${node.id} with ${count(containers.length)} on it: they reach neither each other nor anything else`,
        cites: [cite(addresses, device), ...containers.slice(0, MOST_CITED).flatMap((c) => portCite(c))],
        disprove: `a later collection in which ${name} is up`,
        remediation: [
          {
            step: `Set ${name} up; the kernel makes its connected route again from the address that it still has, but not routes that somebody else had added.`,
            run: `ip link set dev ${word} up`,
            verify: `ip link show dev ${word}; ip -4 route show dev ${word}`,
            undo: `ip link set dev ${word} down`,
          },
          KEEP_OFF,
        ],
      });
    }

    function judgeAddress(bridge: ContainerBridge, containers: readonly ContainerPort[], uplink: boolean): void {
      const { name, device } = bridge;
      const { gateways: configured, exempt } = configuredGateways(source, name);
      // `ip link` in the place of `ip addr`: lo has an address on any node
      const shown = addresses.value.devices.some((d) => d.addresses.length > 0);
      const whole = addresses.closed && shown;
      const byAddress = new Map<string, Expected>();
      let unread = 0;
      for (const { end } of containers) {
        const gateways = end === null ? null : gatewaysOf(source, end);
        if (end === null || gateways === null) unread += 1;
        else
          for (const gateway of gateways) {
            const known = byAddress.get(gateway.address);
            if (known === undefined) byAddress.set(gateway.address, { gateway, ends: [end] });
            else known.ends.push(end);
          }
      }
      const onBridge = (address: string) => addressOf(device, address);
      const before = open.length + found.length;
      let good = 0;
      for (const expected of byAddress.values()) {
        const own = onBridge(expected.gateway.address);
        if (own === undefined) continue;
        good += 1;
        proof.push(cite(addresses, own), cite(expected.gateway.fact, expected.gateway.span));
      }
      for (const expected of byAddress.values())
        if (onBridge(expected.gateway.address) === undefined) judgeAbsent(expected, good > 0);
      if (byAddress.size > 0 || open.length + found.length > before) return;

      // no container's own routes tell
      const [said] = configured;
      const kept = said === undefined ? undefined : onBridge(said.address);
      if (exempt !== null) aside.push({ because: exempt.because, cite: cite(exempt.fact, exempt.span) });
      else if (said !== undefined && kept !== undefined) proof.push(cite(addresses, kept), cite(said.fact, said.span));
      else if (said !== undefined && uplink)
        aside.push({
          because: `containers on ${name} are given the gateway ${said.address}, which a router behind its uplink may be`,
          cite: cite(said.fact, said.span),
        });
      else if (said !== undefined && (unread > 0 || bridge.prefixes.length === 0)) {
        // without its address nothing on the node finds the containers either: published ports are dead
        if (whole && addresses.evidence !== 'ip.ifconfig') report(said, [], false, 'likely');
        else
          doubt(
            `whether ${name} has the address ${said.address} is not known: its addresses were not collected whole`,
            ['ip.addr'],
          );
      } else if (unread === 0)
        aside.push({ because: `the containers on ${name} have no IPv4 gateway there`, cite: cite(addresses, device) });
      else
        doubt(`which gateway the containers on ${name} have was not collected`, [
          'netns.route4',
          'docker.network-inspect',
        ]);

      function judgeAbsent(expected: Expected, others: boolean): void {
        const { gateway } = expected;
        const { address } = gateway;
        const asks = `containers on ${name} have the gateway ${address}`;
        // ifconfig shows one address of a device
        if (!whole || addresses.evidence === 'ip.ifconfig')
          return void doubt(
            `${asks}, and whether ${name} has that address is not known: its addresses were not collected whole`,
            ['ip.addr'],
          );
        if (exempt !== null) return void aside.push({ because: exempt.because, cite: cite(exempt.fact, exempt.span) });
        if (uplink)
          return void aside.push({
            because: `${asks}, which a router behind its uplink may be`,
            cite: cite(gateway.fact, gateway.span),
          });
        // one of them routes for the others, or a router of docker's does
        const routes = containers.some(({ end }) => end?.device.addresses.some((a) => a.address === address) === true);
        if (routes || (name === 'docker0' && defaultGateway(source) === address))
          return void aside.push({
            because: `${asks}, which is not the bridge’s on purpose`,
            cite: cite(gateway.fact, gateway.span),
          });
        const elsewhere = addresses.value.devices.find((d) => d.addresses.some((a) => a.address === address));
        const proxy = ['all', name].some((d) => arp(d, 'proxy_arp') === '1');
        if ((elsewhere !== undefined && ['all', name].every((d) => Number(arp(d, 'arp_ignore') ?? 0) === 0)) || proxy) {
          const ends = expected.ends.map((end) => end.device);
          if (routes4.missing || leadsTo(routes4, ends, name))
            return void doubt(
              `${asks}, which ${name} does not have, but ${proxy ? 'proxy_arp' : `${elsewhere?.name} with that address`} may answer for it`,
              ['netns.neigh-json', 'ip.route4'],
            );
        }
        const byConfig = configured.some((c) => c.address === address);
        if (unread > 0 && !byConfig)
          return void doubt(
            `${asks}, which ${name} does not have, but containers on it were not collected: one of them may be the gateway`,
            ['netns.addr-json'],
          );
        report(gateway, expected.ends, others, 'proven', elsewhere);
      }

      function report(
        gateway: Gateway,
        ends: readonly CableEnd[],
        others: boolean,
        confidence: 'proven' | 'likely',
        elsewhere?: LinkDevice,
      ): void {
        const four = device.addresses.filter((a) => a.family === 4);
        const has =
          four.length === 0 ? 'no IPv4 address' : four.map((a) => `${a.address}/${a.prefixLength}`).join(', ');
        const who =
          ends.length === 0
            ? 'its containers are given'
            : `${count(ends.length)} on it ${ends.length === 1 ? 'has' : 'have'}`;
        const place = elsewhere === undefined ? '' : ` (now on ${elsewhere.name})`;
        const moved = elsewhere?.addresses.find((a) => a.address === gateway.address);
        const [shownAddress] = four;
        const docker = !dockerNetworks.missing && dockerNetworks.value.networks.some((n) => n.bridge === name);
        found.push({
          key: `${name} ${four.length === 0 ? 'addressless' : gateway.address}`,
          severity: others ? 'high' : 'critical',
          confidence,
          nodes: [node.id],
          message: `${name} on ${node.id} has ${has}, but ${who} the gateway ${gateway.address}${place}: nothing beyond their own network is reached`,
          cites: [
            shownAddress === undefined ? cite(addresses, device) : cite(addresses, shownAddress),
            cite(gateway.fact, gateway.span),
            ...(moved === undefined ? [] : [cite(addresses, moved)]),
          ],
          disprove: `something else on ${name} that answers for ${gateway.address}`,
          remediation: [
            ...putBack(name, gateway, elsewhere === undefined ? null : { on: elsewhere, moved }, docker),
            KEEP_OFF,
          ],
        });
      }
    }

    function arp(dev: string, key: string): string | undefined {
      return wants.sysctl.missing ? undefined : sysctl(wants.sysctl, `net/ipv4/conf/${dev}/${key}`)?.value;
    }

    function portCite({ device }: ContainerPort): readonly LineCite[] {
      return addresses.value.devices.includes(device) ? [cite(addresses, device)] : [];
    }
  },
});

const count = (n: number): string => (n === 1 ? 'one container' : `${n} containers`);

const addressOf = (device: LinkDevice, address: string) =>
  device.addresses.find((a) => a.family === 4 && a.address === address);
