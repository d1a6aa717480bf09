import { parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { effectiveConf, isForeign } from '../../src/derive/cni.ts';
import { attachedBridges, isFlannel, overlayDevices } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { restartKubelet } from '../../src/derive/flannel-remedy.ts';
import { flag } from '../../src/derive/settings.ts';
import type { InterfaceAddress, LinkDevice } from '../../src/facts/index.ts';
import type { Finding, LineCite } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'bridge-address-not-in-lease',
  title: {
    bad: 'The container bridge does not carry the address that flannel leased',
    good: 'The container bridge carries the leased address',
  },
  severity: 'critical',
  explanation:
    'The lease changed but the old bridge stayed. New pods fail to start ("already has an IP address different from ..."), ' +
    'and old ones use a gateway that no other node routes to.',
  remediation: [
    {
      step: 'Drain the node, then remove the old bridge and its leases; the CNI plugin makes the bridge anew from subnet.env.',
      run: 'ip link del cni0; rm -rf /var/lib/cni/networks/cbr0 /var/lib/cni/flannel; systemctl restart kubelet',
      verify: '. /run/flannel/subnet.env; ip -4 addr show cni0 | grep -w "${FLANNEL_SUBNET}"',
      undo: 'uncordon the node; there is nothing to bring back: the old addresses were unreachable',
      risk: 'Every pod of the node loses its network until the kubelet has made it anew.',
    },
  ],
  references: [REF.flannelCni, REF.cniBridge],
  needs: ['addresses'],
  wants: ['flannelEnv', 'cniConf', 'dockerdArgs', 'k3sArgs', 'links', 'bridges', 'sysfs', 'dockerNetworks'],
  needsAny: ['flannelEnv'],
  explains: [
    'bridge-down-or-addressless',
    'duplicate-pod-address',
    'overlay-traffic-masqueraded',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, facts, wants, source }) {
    const lease = flannelLease(source);
    if (lease === null) {
      const overlay = overlayDevices(source).find((o) => isFlannel(o.device.name));
      if (overlay === undefined) return notApplicable('no flannel on this node: no subnet.env, no flannel device');
      return unknown(node.id, 'flannel has a device here, but its subnet.env was not found', ['flannel.subnet-env']);
    }
    const { subnet } = lease;
    if (subnet === null) return unknown(node.id, 'subnet.env holds no readable FLANNEL_SUBNET', ['flannel.subnet-env']);
    const plugins = wants.cniConf.flatMap((conf) => conf.value.plugins.map((plugin) => ({ plugin, conf })));
    const effective = effectiveConf(wants.cniConf);
    const foreign = plugins.find(({ plugin, conf }) => conf === effective && isForeign(plugin));
    if (foreign !== undefined)
      return notApplicable(`${foreign.plugin.type} makes the pods’ links, not a bridge`, [
        cite(foreign.conf, foreign.plugin),
      ]);
    const named =
      plugins.find(({ plugin, conf }) => conf === effective && /^(flannel|bridge)$/.test(plugin.type)) ??
      plugins.find(({ plugin }) => plugin.type === 'flannel');
    const own = named?.plugin.type === 'bridge' && named.plugin.subnets.length > 0;
    if (named !== undefined && own)
      return notApplicable('the CNI configuration sets its own subnet', [cite(named.conf, named.plugin)]);
    const delegate = named?.plugin.settings['delegate.bridge'] ?? named?.plugin.bridge;
    const wanted = typeof delegate === 'string' ? delegate : 'cni0';
    const bip = wants.dockerdArgs.missing ? undefined : flag(wants.dockerdArgs.value, 'bip');
    const devices = facts.addresses.value.devices;
    // docker + flannel without CNI: docker0 was given a lease's address, by --bip or (an address of the pod network says it) otherwise
    const inPodNetwork = (d: LinkDevice) =>
      d.addresses.some((a) => {
        const ip = a.family === 4 ? parsePrefix(a.address) : null;
        return ip !== null && lease.network !== null && prefixCovers(lease.network.prefix, ip);
      });
    const bridge =
      devices.find((d) => d.name === wanted) ??
      devices.find((d) => d.name === 'docker0' && (bip !== undefined || inPodNetwork(d)));
    if (bridge === undefined) {
      if (!facts.addresses.closed)
        return unknown(node.id, `whether ${wanted} exists is not known: the list of devices was not collected whole`, [
          facts.addresses.evidence,
        ]);
      return notApplicable(`${wanted} does not exist yet: no pod needs it`, [cite(lease.fact, subnet)]);
    }
    const four = bridge.addresses.filter((a) => a.family === 4);
    const same = four.filter((a) => a.address === subnet.address);
    const match = same.find((a) => a.prefixLength === subnet.prefix.length);
    if (match !== undefined) return pass(cite(facts.addresses, match), cite(lease.fact, subnet));
    const [masked] = same;
    if (masked !== undefined)
      return findings([
        otherMask(node.id, bridge.name, masked, cite(facts.addresses, masked), subnet.text, cite(lease.fact, subnet)),
      ]);
    const [shown] = four;
    if (shown === undefined) {
      if (!facts.addresses.closed)
        return unknown(node.id, `${bridge.name}'s addresses were not collected whole`, [facts.addresses.evidence]);
      // the CNI plugin refuses another address than the leased one; where there is none it sets the leased one
      return notApplicable(`${bridge.name} has no IPv4 address at all: bridge-down-or-addressless judges that`, [
        cite(facts.addresses, bridge),
      ]);
    }
    const has = four.map((a) => `${a.address}/${a.prefixLength}`).join(', ');
    const assumed = named === undefined && bridge.name === wanted;
    if (assumed && !attachedBridges(source).bridges.some((b) => b.name === bridge.name)) {
      return unknown(
        node.id,
        `${bridge.name} has ${has} and not the leased ${subnet.text}, but no container is attached to it, and whether the CNI configuration names it was not collected`,
        ['cni.conf'],
      );
    }
    return findings([
      {
        key: bridge.name,
        severity: 'critical',
        confidence: assumed ? 'likely' : 'proven',
        nodes: [node.id],
        message: `${bridge.name} on ${node.id} has ${has} but flannel leased ${subnet.text}: pods there are outside the subnet that other nodes route to this node`,
        cites: [cite(facts.addresses, shown), cite(lease.fact, subnet)],
        disprove: 'a CNI configuration that gives this bridge its own subnet on purpose',
        remediation: [
          {
            step:
              bridge.name === 'docker0'
                ? `Drain ${node.id}, then let docker take its --bip from the new subnet.env (mk-docker-opts.sh of flannel writes it into docker’s options).`
                : `Drain ${node.id}, then remove the old bridge and its leases; the CNI plugin makes the bridge anew from subnet.env.`,
            run:
              bridge.name === 'docker0'
                ? 'systemctl restart flanneld docker'
                : `ip link del ${shellWord(bridge.name)}; rm -rf /var/lib/cni/networks/cbr0 /var/lib/cni/flannel; ${restartKubelet(wants.k3sArgs)}`,
            verify: `ip -4 addr show ${shellWord(bridge.name)} | grep -w ${shellWord(subnet.text)}`,
            undo: 'uncordon the node; there is nothing to bring back: the old addresses were unreachable',
            risk: 'Every pod of the node loses its network until it has been made anew.',
          },
        ],
      },
    ]);
  },
});

/** The CNI plugin bridge takes a wider or narrower network for another address ("already has an IP address different from"); docker takes it as it is. */
function otherMask(
  node: string,
  name: string,
  { address, prefixLength }: InterfaceAddress,
  at: LineCite,
  leased: string,
  leaseAt: LineCite,
): Finding {
  const effect =
    name === 'docker0'
      ? 'docker hands out addresses of that range, which other nodes do not route here'
      : 'the CNI plugin takes that for another address, and new pods do not start';
  const [device, has] = [shellWord(name), `${address}/${prefixLength}`];
  return {
    key: `${name} mask`,
    severity: 'high',
    confidence: 'likely',
    nodes: [node],
    message: `${name} on ${node} has ${has} but flannel leased ${leased}: ${effect}`,
    cites: [at, leaseAt],
    disprove: 'a CNI configuration that gives this bridge its own subnet on purpose',
    remediation: [
      name === 'docker0'
        ? { step: `Let docker take its --bip from subnet.env (${leased}) and restart it.` }
        : {
            step: 'Give the bridge the leased network: the new address first, so that it never has none.',
            run: `ip addr add ${leased} brd + dev ${device} && ip addr del ${has} dev ${device}`,
            verify: `ip -4 addr show ${device} | grep -w ${shellWord(leased)}`,
            undo: `ip addr add ${has} dev ${device}; ip addr del ${leased} dev ${device}`,
            risk: 'none known',
          },
    ],
  };
}
