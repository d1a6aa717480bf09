import { parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { containerBridges } from '../../src/derive/devices.ts';
import { type PodLink, podLinks } from '../../src/derive/pod-links.ts';
import type { Cite, Finding } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** What can be wrong with one cable, as the end of a sentence, and the command that mends it until the container is made anew. */
interface Break {
  readonly what: string;
  readonly confidence: Finding['confidence'];
  readonly cites: readonly Cite[];
  readonly mend?: { readonly run: string; readonly undo: string };
  /** Only large packets are lost. */
  readonly large?: 'to the node' | 'to it';
}

/** More containers than this with one fault show nothing new. */
const SHOWN = 4;

export const rule = defineNodeRule({
  id: 'pod-link-broken',
  title: {
    bad: 'A container’s cable to the node is broken',
    good: 'The cables of containers are up and plugged in, as far as their namespaces were collected',
  },
  severity: 'high',
  explanation:
    'A container talks through a pair of veth devices, whose end on the node must be up and an active port of the bridge that has the container’s gateway. ' +
    'An interrupted CNI plugin leaves it dangling, and so does a network manager (NetworkManager, systemd-networkd) that takes the device over. Ends of different MTU lose large packets. Other containers of the node are well.',
  remediation: [
    {
      step: 'Delete the pod (or restart the container): it gets a new cable. Keep network managers off these devices (NetworkManager: unmanaged-devices=interface-name:veth*;interface-name:cni*).',
      verify: 'bridge link   # the port is up, its master is the bridge, its state forwarding',
    },
  ],
  references: [REF.cniBridge, REF.kernelBridge],
  needs: ['addresses'],
  wants: [
    'links',
    'bridges',
    'bridgePorts',
    'sysfs',
    'dockerNetworks',
    'routes4',
    'netnsAddresses',
    'netnsIndex',
    'cniConf',
  ],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const bridges = containerBridges(source);
    const { links, unpaired } = podLinks(source);
    const open =
      unpaired.length === 0
        ? []
        : [
            {
              nodes: [node.id] as const,
              because: `where ${unpaired.slice(0, 3).join(', ')}${unpaired.length > 3 ? ' and others' : ''} lead to: no namespace that was collected has the other end`,
              evidence: ['netns.addr-json'],
            },
          ];
    if (links.length === 0 && unpaired.length === 0) {
      if (!isClosed(facts.addresses))
        return unknown(node.id, 'the list of the node’s devices was not collected whole', [facts.addresses.evidence]);
      return notApplicable('no container here has a cable to the node');
    }
    const found = new Map<string, { first: Break; links: PodLink[]; cites: Cite[] }>();
    for (const link of links) {
      const broken = breakOf(link);
      if (broken === null) continue;
      const known = found.get(broken.what) ?? { first: broken, links: [], cites: [] };
      known.links.push(link);
      if (known.links.length <= SHOWN) known.cites.push(...broken.cites);
      found.set(broken.what, known);
    }
    const list = [...found.values()].flatMap((f): Finding[] => (isNonEmpty(f.cites) ? [finding(f, f.cites)] : []));
    if (isNonEmpty(list)) return findings(list, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    const proofs = links.slice(0, SHOWN).map((l) => cite(facts.addresses, l.outer));
    return isNonEmpty(proofs)
      ? { kind: 'pass', cites: proofs }
      : notApplicable('no container here has a cable to the node');

    function breakOf({ inner, fact, outer, alone }: PodLink): Break | null {
      const innerCite = cite(fact, inner);
      const outerCite = cite(facts.addresses, outer);
      const bridge = bridges.find((b) => b.name === outer.master);
      const known = inner.flags.length > 0 && outer.flags.length > 0;
      if (!known) return null;
      const four = inner.addresses.filter((a) => a.family === 4);
      // what has neither an address nor a bridge is not in use yet, or not any more
      if (bridge === undefined && four.length === 0) return null;
      if (!outer.flags.includes('UP'))
        return {
          what: 'the end of its cable on the node is down',
          confidence: 'proven',
          cites: [outerCite, innerCite],
          mend: { run: `ip link set ${shellWord(outer.name)} up`, undo: `ip link set ${shellWord(outer.name)} down` },
        };
      if (!inner.flags.includes('UP'))
        // one of several devices may be left down on purpose
        return alone || four.length > 0
          ? {
              what: `its own end of the cable, ${inner.name}, is down`,
              confidence: 'likely',
              cites: [innerCite, outerCite],
            }
          : null;
      // a device that is a port itself hands its address to a bridge in the container, or to a virtual machine
      if (four.length === 0 && bridge !== undefined && alone && inner.master === undefined)
        return inner.addresses.some((a) => a.family === 6 && a.scope === 'global') || bridge.prefixes.length === 0
          ? null
          : { what: `${inner.name} has no address`, confidence: 'likely', cites: [innerCite, outerCite] };
      if (outer.master === undefined)
        return loose(
          innerCite,
          outerCite,
          outer.name,
          four.map((a) => a.address),
        );
      const port = portOf(outer.name);
      if (bridge === undefined || port?.port === undefined) return null;
      const { state, isolated } = port.port;
      const stands = bridge.device.flags.includes('UP') && outer.flags.includes('LOWER_UP');
      if (stands && state !== undefined && state !== 'forwarding')
        return {
          what: `${bridge.name} does not forward what its port gets (state ${state})`,
          // spanning tree holds a new port back for some seconds
          confidence: state === 'disabled' ? 'proven' : 'likely',
          cites: [portCite(port), innerCite],
          mend: {
            run: `bridge link set dev ${shellWord(outer.name)} state 3`,
            undo: `bridge link set dev ${shellWord(outer.name)} state 0`,
          },
        };
      if (isolated === true && isolatedOn(bridge.name) > 1 && !isolationMeant())
        return {
          what: `its port of ${bridge.name} is isolated: it does not reach the other isolated ones`,
          confidence: 'likely',
          cites: [portCite(port), innerCite],
          mend: {
            run: `bridge link set dev ${shellWord(outer.name)} isolated off`,
            undo: `bridge link set dev ${shellWord(outer.name)} isolated on`,
          },
        };
      return tooLarge(inner, outer, [outerCite, innerCite]);
    }

    /** Measured: what is larger than the MTU of the end that takes it is dropped there, and nobody is told. */
    function tooLarge(
      { name, mtu: own }: PodLink['inner'],
      { name: far, mtu: theirs }: PodLink['outer'],
      cites: readonly Cite[],
    ): Break | null {
      if (own === undefined || theirs === undefined || own === theirs) return null;
      const [from, to] = own > theirs ? [name, far] : [far, name];
      return {
        what: `the ends of its cable differ in their MTU: ${from} sends up to ${Math.max(own, theirs)} bytes, ${to} drops what is larger than ${Math.min(own, theirs)}`,
        confidence: 'proven',
        cites,
        large: own > theirs ? 'to the node' : 'to it',
        ...(own > theirs
          ? {
              mend: {
                run: `ip link set ${shellWord(far)} mtu ${own}`,
                undo: `ip link set ${shellWord(far)} mtu ${theirs}`,
              },
            }
          : {}),
      };
    }

    /** In no bridge although one has the network of the container's address, and without a route of its own (Calico, ptp). */
    function loose(innerCite: Cite, outerCite: Cite, name: string, own: readonly string[]): Break | null {
      const home = bridges.find((b) =>
        own.some((address) => {
          const ip = parsePrefix(address);
          return ip !== null && b.prefixes.some((p) => prefixCovers(p.prefix, ip));
        }),
      );
      const masters = facts.addresses.value.devices.some((d) => d.state !== undefined);
      const routes = wants.routes4.missing ? null : wants.routes4;
      // a bridge that flannel left has the network of the pods that Cilium or Calico cable without one
      if (/^(lxc|cali|eni|azv|gke)/.test(name)) return null;
      if (home === undefined || !masters || routes === null || !isClosed(routes)) return null;
      if (routes.value.routes.some((r) => r.dev === name)) return null;
      return {
        what: `its cable is not plugged into ${home.name}, whose network it is in`,
        confidence: 'proven',
        cites: [outerCite, innerCite],
        mend: {
          run: `ip link set ${shellWord(name)} master ${shellWord(home.name)}`,
          undo: `ip link set ${shellWord(name)} nomaster`,
        },
      };
    }

    function portOf(name: string) {
      if (wants.links.missing) return undefined;
      const device = wants.links.value.devices.find((d) => d.name === name);
      return device === undefined ? undefined : { ...device, fact: wants.links };
    }

    /** `bridge link` where it was collected: it says little else. */
    function portCite(port: NonNullable<ReturnType<typeof portOf>>): Cite {
      const { bridgePorts } = wants;
      const line = bridgePorts.missing ? undefined : bridgePorts.value.ports.find((p) => p.name === port.name);
      return bridgePorts.missing || line === undefined ? cite(port.fact, port) : cite(bridgePorts, line);
    }

    function isolatedOn(bridge: string): number {
      if (wants.links.missing) return 0;
      return wants.links.value.devices.filter((d) => d.master === bridge && d.port?.isolated === true).length;
    }

    /** The CNI plugin bridge isolates ports where it is told to (portIsolation, from 1.6). */
    function isolationMeant(): boolean {
      return wants.cniConf.some((c) =>
        c.value.plugins.some((p) => Object.keys(p.settings).some((key) => key.endsWith('portIsolation'))),
      );
    }

    function finding({ first, links: hit }: { first: Break; links: PodLink[] }, cites: Finding['cites']): Finding {
      const names = hit.map(nameOf);
      const who =
        names.length === 1 ? names[0] : `${names.slice(0, SHOWN).join(', ')}${names.length > SHOWN ? ' ...' : ''}`;
      const count = names.length === 1 ? '' : ` (${names.length} containers)`;
      return {
        key: first.what,
        // TCP to the smaller end keeps to it: only other packets are lost
        severity: first.large === 'to it' ? 'medium' : 'high',
        confidence: first.confidence,
        nodes: [node.id],
        // traces are of small packets
        ...(first.large === undefined ? {} : { latent: true }),
        about: hit.flatMap((l) => l.inner.addresses.filter((a) => a.family === 4).map((a) => a.address)),
        message: `${who} on ${node.id}${count}: ${first.what}`,
        cites,
        disprove: 'the container was being made or ended while it was collected',
        ...(first.mend === undefined
          ? {}
          : {
              remediation: [
                {
                  step: 'Delete the pod (or restart the container): it gets a new cable. Or, for this one and until it is made anew:',
                  ...first.mend,
                  verify: `bridge link   # ${hit[0]?.outer.name ?? 'the port'} is up, its master is the bridge, its state forwarding${first.large === undefined ? '' : ', its mtu that of the other end'}`,
                  risk: 'none known',
                },
              ],
            }),
      };
    }
  },
});

/** A container by its address, else by its namespace. */
const nameOf = ({ inner, inode }: PodLink): string =>
  inner.addresses.find((a) => a.family === 4)?.address ?? `the container of netns/${inode}`;
