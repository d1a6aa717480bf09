import { parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { type CniPlugin, isForeign, isMeta } from '../../src/derive/cni.ts';
import { cniFiles, notItsFiles } from '../../src/derive/cni-files.ts';
import { putAway } from '../../src/derive/cni-remedy.ts';
import { CNI_RUNTIME_KINDS, CONF_DIR, cniEndpoint, cniRuntime, containerdInfo } from '../../src/derive/cni-runtime.ts';
import { flannelPlugin, usedConf } from '../../src/derive/cni-used.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import type { Fact } from '../../src/facts/index.ts';
import type { Cite, Remediation } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** Addresses of the other network that are kept, to tell what they break. */
const MANY = 50;

export const rule = defineNodeRule({
  id: 'cni-config-shadowed',
  title: {
    bad: 'Another CNI configuration comes before flannel’s: pods get a network that flannel does not know',
    good: 'The first CNI configuration by name is flannel’s',
  },
  severity: 'high',
  explanation:
    'Of several files the runtime takes the first by the order of their bytes (“10-containerd-net” comes before “10-flannel”, “100-crio” after it). What another package left there gives pods addresses of ' +
    'its own range, often the same on every node: they reach nothing beyond their node, while flannel’s routes, devices and leases are all as they should be.',
  remediation: [
    {
      step: 'Take the stranger’s file out of the directory, then make anew the pods that got an address of its range.',
      run: `ls ${CONF_DIR}`,
      verify: `ls ${CONF_DIR} | LC_ALL=C grep -E '\\.(conf|conflist|json)$' | LC_ALL=C sort | head -1`,
      undo: 'nothing was changed: the command only shows what lies there',
    },
  ],
  references: [REF.cniSpec, REF.flannelCni, REF.kubeNetworkPlugins],
  needs: [],
  needsAny: ['flanneldArgs'],
  wants: [...CNI_RUNTIME_KINDS, 'flanneldArgs', 'flannelEnv', 'cniConf', 'cniBin', 'cniLeases', 'addresses'],
  explains: [
    'cni-not-ready',
    'bridge-address-not-in-lease',
    'pod-cidr-duplicate',
    'overlay-traffic-masqueraded',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, wants, source }) {
    const elsewhere = notItsFiles(node);
    if (elsewhere !== null) return unknown(node.id, elsewhere, ['cni.conf']);
    const flanneld = wants.flanneldArgs;
    if (flanneld.missing || flanneld.value.processes.length === 0)
      return notApplicable('flanneld does not run on this node');
    const runtime = cniRuntime(source, node.hostname);
    if (runtime.kind === 'none')
      return notApplicable(
        runtime.because,
        runtime.told === undefined ? [] : [cite(runtime.told.fact, runtime.told.span)],
      );
    const listed = cniFiles(node, source);
    const used = usedConf(node, runtime, listed, wants.cniBin);
    if (used.kind === 'unknown')
      return unknown(node.id, `which CNI configuration the runtime uses: ${used.because}`, used.evidence);
    if (used.kind !== 'used') return notApplicable(used.because);
    const { file, fact } = used;
    const called = flannelPlugin(fact);
    if (called !== undefined) return pass(cite(fact, called));
    const [plugin] = fact.value.plugins;
    const behind = listed.files.find((f) => f.name > file.name && f.fact !== undefined && flannelPlugin(f.fact));
    const meant = behind?.fact === undefined ? undefined : flannelPlugin(behind.fact);
    if (plugin === undefined || behind?.fact === undefined || meant === undefined)
      return notApplicable(
        `no CNI configuration calls flannel: the runtime uses ${file.name}`,
        plugin === undefined ? [] : [cite(fact, plugin)],
      );
    const meta = fact.value.plugins.find(isMeta);
    if (meta !== undefined)
      return notApplicable(`${meta.type} chooses the networks of pods, and comes first for that`, [cite(fact, meta)]);
    if (runtime.kind === 'known' && runtime.files !== 1)
      return notApplicable('the runtime is told to give pods an interface of each configuration');
    const inLease = leased(fact.value.plugins);
    if (inLease) return pass(cite(fact, plugin));

    const [mine, theirs] = [fact.value.name, behind.fact.value.name];
    const loaded = loadedNetworks();
    if (loaded !== null && mine !== undefined && !loaded.includes(mine))
      return unknown(
        node.id,
        `${file.name} comes before ${behind.name}, but the runtime says that it uses ${loaded.join(', ')}`,
        ['cni.conf'],
      );
    const leases = wants.cniLeases;
    const own = leases.missing ? [] : leases.value.leases.filter((l) => l.network === mine).slice(0, MANY);
    const [lease] = own;
    const others = !leases.missing && leases.value.leases.some((l) => l.network === theirs);
    if (runtime.kind === 'known' && runtime.name === 'CRI-O' && (lease === undefined || others))
      return unknown(
        node.id,
        `${file.name} comes before ${behind.name}, but CRI-O may be told which network pods get: its crio.conf was not collected`,
        ['cri.info'],
      );
    const foreign = fact.value.plugins.find(isForeign);
    if (foreign !== undefined && lease === undefined) {
      const at = deviceOf(foreign.type);
      if (at !== 'none')
        return unknown(
          node.id,
          `${file.name} (${foreign.type}) comes before ${behind.name}, and whether ${foreign.type} is meant to give pods their network is not known${at === 'unknown' ? '' : `: its device ${at} is here`}`,
          ['k8s.node'],
        );
    }
    const cites: Cite[] = [cite(fact, plugin), cite(behind.fact, meant)];
    if (!leases.missing && lease !== undefined) cites.push(cite(leases, lease));
    const ranges = fact.value.plugins.flatMap((p) => p.subnets);
    // what host-local hands out it writes down
    const recorded = fact.value.plugins.some((p) => p.settings['ipam.type'] === 'host-local');
    const none = recorded && lease === undefined && (leases.missing ? leases.lookedFor : leases.closed);
    const range = ranges.length === 0 ? '' : `, addresses of ${ranges.join(', ')}`;
    if (!isNonEmpty(cites)) return unknown(node.id, 'no line shows it', ['cni.conf']);
    return findings([
      {
        key: `${file.name} before ${behind.name}`,
        severity: 'high',
        confidence: lease !== undefined || loaded !== null ? 'proven' : 'likely',
        nodes: [node.id],
        message: `Pods of ${node.id} get the network of ${file.name} (plugin ${plugin.type}${range}), not flannel’s: the file comes before ${behind.name} by name`,
        cites,
        ...(none ? { latent: true } : {}),
        // pods that have flannel's addresses are well
        about: [
          ...ranges,
          ...own.map((l) => l.ip),
          ...bridgeAddresses(),
          ...fact.value.plugins.filter(isForeign).map((p) => p.type),
        ],
        disprove:
          'a setting of the runtime that names the network of pods, or a file that is on its way out: pods keep what they have',
        remediation: remedies(fact.value.plugins, meant),
      },
    ]);

    function remedies(plugins: readonly CniPlugin[], flannel: CniPlugin): Remediation[] {
      const first = putAway(
        file.name,
        `Take ${file.name} out of the way: the runtime then uses ${behind?.name}. Afterwards make anew the pods that have addresses of ${ranges.join(', ') || 'the other network'} (kubectl delete pod).`,
      );
      const bridge = plugins.find((p) => p.type === 'bridge')?.bridge;
      const wanted = flannel.settings['delegate.bridge'] ?? 'cni0';
      const addresses = wants.addresses;
      const device = addresses.missing ? undefined : addresses.value.devices.find((d) => d.name === bridge);
      const foreign = device?.addresses.find((a) => ranges.some((r) => within(r, a.address)));
      if (bridge === undefined || bridge !== wanted || foreign === undefined) return [first];
      return [
        first,
        {
          step: `Then drain ${node.id} and remove ${bridge}, which has ${foreign.address} of the other network: flannel’s plugin refuses a bridge with another address, and makes it anew.`,
          run: `ip link del ${shellWord(bridge)}`,
          verify: `. /run/flannel/subnet.env; ip -4 addr show ${shellWord(bridge)} | grep -w "\${FLANNEL_SUBNET}"   # once a pod was started`,
          undo: 'none needed: the next pod makes the bridge anew',
          risk: 'Every pod of the node loses its network until it was made anew.',
        },
      ];
    }

    /** Those of bridges here that are of the other network. */
    function bridgeAddresses(): string[] {
      if (wants.addresses.missing) return [];
      return wants.addresses.value.devices
        .flatMap((d) => d.addresses)
        .map((a) => a.address)
        .filter((address) => ranges.some((r) => within(r, address)));
    }

    /** Addresses of flannel's lease by another plugin: somebody built that by hand. */
    function leased(plugins: readonly CniPlugin[]): boolean {
      const subnet = flannelLease(source)?.subnet?.prefix;
      const given = plugins.flatMap((p) => p.subnets);
      return (
        subnet !== undefined &&
        given.length > 0 &&
        given.every((text) => {
          const prefix = parsePrefix(text);
          return prefix !== null && prefixCovers(subnet, prefix);
        })
      );
    }

    /** Names of the networks that containerd says it has loaded, its own for lo left out. */
    function loadedNetworks(): readonly string[] | null {
      const info: Fact<'criInfo'> | null = containerdInfo(source, cniEndpoint(source, node.hostname));
      if (info === null) return null;
      const names = info.value.settings
        .filter((s) => /^cniconfig\.Networks\.\d+\.Config\.Name$/.test(s.path))
        .map((s) => `${s.value}`);
      const used = names.filter((name) => name !== 'cni-loopback');
      return used.length === 0 ? null : used;
    }

    /** A device that a program of this plugin's maker keeps on the node: then it runs. */
    function deviceOf(type: string): string {
      const addresses = wants.addresses;
      if (addresses.missing || !addresses.closed) return 'unknown';
      const maker = /calico/.test(type)
        ? /^(cali|tunl0|vxlan\.calico|wireguard\.cali)/
        : /cilium/.test(type)
          ? /^(cilium_|lxc)/
          : /weave/.test(type)
            ? /^(weave|vethwe)/
            : /^(kube-bridge|antrea|ovn|genev|br-int|ovs)/;
      return addresses.value.devices.find((d) => maker.test(d.name))?.name ?? 'none';
    }
  },
});

function within(range: string, address: string): boolean {
  const [outer, inner] = [parsePrefix(range), parsePrefix(address)];
  return outer !== null && inner !== null && prefixCovers(outer, inner);
}
