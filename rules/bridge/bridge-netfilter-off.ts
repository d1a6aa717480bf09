import { formatPrefix, prefixCovers } from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { effectiveConf } from '../../src/derive/cni.ts';
import { attachedBridges, type ContainerBridge } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { kubeServices, localService, SERVICE_KINDS } from '../../src/derive/local-services.ts';
import { sysctl } from '../../src/derive/settings.ts';
import type { Cite, Finding, LineCite, Remediation } from '../../src/rule/index.ts';
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

const KEY = 'net/bridge/bridge-nf-call-iptables';
const NAME = 'net.bridge.bridge-nf-call-iptables';

const REMEDY: Remediation = {
  step: 'Load br_netfilter and switch it on; kubeadm and the container runtimes ask for the same.',
  run: `modprobe br_netfilter && sysctl -w ${NAME}=1`,
  verify: `sysctl ${NAME}`,
  undo: `sysctl -w ${NAME}=0`,
  risk: 'Frames between containers of one bridge then pass FORWARD, too: rules there that drop them begin to count.',
};
const PERSIST: Remediation = {
  step: 'Keep it over a reboot: the module first, or sysctl.d has nothing to set.',
  run: `echo br_netfilter > /etc/modules-load.d/br_netfilter.conf; echo '${NAME} = 1' > /etc/sysctl.d/99-bridge-netfilter.conf`,
  verify: 'systemctl restart systemd-modules-load && sysctl --system | grep bridge-nf',
  undo: 'rm /etc/modules-load.d/br_netfilter.conf /etc/sysctl.d/99-bridge-netfilter.conf',
};

export const rule = defineNodeRule({
  id: 'bridge-netfilter-off',
  title: {
    bad: 'Frames on the container bridge pass iptables by: services fail between pods of one node',
    good: 'Frames on the container bridge are handed to iptables',
  },
  severity: 'high',
  explanation:
    'kube-proxy changes the destination when the node routes the packet, but the answer of a pod on the same bridge is switched and never routed: ' +
    'connection tracking does not see it, and the client refuses it because it comes from the pod’s address and not from the service’s. ' +
    'Pods on other nodes answer properly, so that the same service works now and then.',
  remediation: [REMEDY, PERSIST],
  references: [REF.ipSysctl, REF.kubeNetworkPlugins],
  needs: ['sysctl', 'addresses'],
  wants: [
    'links',
    'bridges',
    'sysfs',
    'dockerNetworks',
    'modules',
    'netnsAddresses',
    'ipvs',
    'nftText',
    'cniConf',
    'flannelEnv',
    ...SERVICE_KINDS,
  ],
  explains: ['trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { bridges, doubt } = attachedBridges(source);
    if (bridges.length === 0) {
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable('no container bridge with a port and an IPv4 address on this node');
    }
    const on: LineCite[] = [];
    const off: ContainerBridge[] = [];
    const setting = sysctl(facts.sysctl, KEY);
    for (const bridge of bridges) {
      const own = ownSwitch(bridge.name);
      if (own !== null) on.push(own);
      else if (setting !== undefined && setting.value !== '0') on.push(cite(facts.sysctl, setting));
      else off.push(bridge);
    }
    const [first, ...rest] = on;
    if (off.length === 0 && first !== undefined) return pass(first, ...rest);

    const services = kubeServices(source);
    const others = services === null ? otherServices() : null;
    if (services === null && others === null) {
      if (SERVICE_KINDS.every((kind) => wants[kind].missing))
        return unknown(node.id, 'whether services are translated on this node was not collected', ['fw.iptables-save']);
      return notApplicable('no service of a cluster is translated on this node');
    }
    const several = off.filter((b) => b.ports.length > 1);
    if (several.length === 0)
      return notApplicable(
        `fewer than two containers are attached to ${off.map((b) => b.name).join(', ')}: none can ask another one`,
      );
    let proof: Cite;
    if (setting !== undefined) proof = cite(facts.sysctl, setting);
    else if (!isClosed(facts.sysctl)) return unknown(node.id, `${NAME} was not collected`, ['sys.sysctl']);
    else {
      const loaded = wants.modules.missing
        ? undefined
        : wants.modules.value.modules.find((m) => m.name === 'br_netfilter');
      // the kernel shows it to each network namespace since 5.3, to the first one only before
      if (loaded !== undefined)
        return unknown(node.id, `br_netfilter is loaded, but ${NAME} is not among the settings that were collected`, [
          'sys.sysctl',
        ]);
      proof = absent(facts.sysctl, `${NAME}: br_netfilter is not loaded`);
    }
    const state = setting === undefined ? 'br_netfilter is not loaded' : `${NAME}=0`;
    const elsewhere: string[] = [];
    const found = several.flatMap((bridge): readonly Finding[] => {
      const [network] = bridge.prefixes;
      const hit = services === null || network === undefined ? null : localService(services.value, network.prefix);
      if (hit === 'masqueraded') return [];
      // Docker's own containers, and those of others, are no backends
      if ((services === null || hit === null) && !isPods(bridge)) {
        elsewhere.push(bridge.name);
        return [];
      }
      const where = `Frames on ${bridge.name} of ${node.id} pass iptables by (${state})`;
      const device = cite(bridge.fact, bridge.device);
      const common = {
        key: bridge.name,
        nodes: [node.id] as const,
        disprove: `a connection between two pods on ${bridge.name} over a service that works`,
      };
      if (services === null || hit === null)
        return [
          {
            ...common,
            severity: 'medium',
            confidence: 'likely',
            message: `${where}: a service whose backend is on ${bridge.name} fails for the other pods there; ${services === null ? 'which services have one there is not told by what was collected' : `none has a backend in ${network === undefined ? 'its network' : formatPrefix(network.prefix)} at the moment`}`,
            cites: [proof, device, ...(services === null ? [others as LineCite] : [])],
          },
        ];
      const lives = wants.netnsAddresses.some((f) =>
        f.value.devices.some((d) => d.addresses.some((a) => a.address === hit.backend)),
      );
      return [
        {
          ...common,
          severity: 'high',
          confidence: lives ? 'proven' : 'likely',
          message: `${where}: pods on ${bridge.name} cannot use the service ${hit.name} (${hit.address}${hit.port === null ? '' : `:${hit.port}`}) whenever it sends them to ${hit.backend}, which is on the same bridge: its answer reaches them untranslated`,
          cites: [proof, cite(services, { line: hit.line }), device],
        },
      ];
    });
    if (isNonEmpty(found)) return findings(found);
    return notApplicable(
      elsewhere.length === 0
        ? 'services give pods the node’s address here, so that answers come back through it'
        : `nothing shows that pods are on ${elsewhere.join(', ')}`,
    );

    /** By its name, by the CNI configuration, or in flannel's range. */
    function isPods({ name, prefixes }: ContainerBridge): boolean {
      const range = flannelLease(source)?.network?.prefix;
      return (
        /^(cni\d+|cbr0|kube-bridge|weave)$/.test(name) ||
        effectiveConf(wants.cniConf)?.value.plugins.some((p) => p.bridge === name) === true ||
        (range !== undefined && prefixes.some((p) => prefixCovers(range, p.prefix)))
      );
    }

    /** A bridge may be switched on alone. */
    function ownSwitch(name: string): LineCite | null {
      const device = wants.links.missing ? undefined : wants.links.value.devices.find((d) => d.name === name);
      if (device?.bridge?.nfCallIptables === true && !wants.links.missing) return cite(wants.links, device);
      const entry = wants.sysfs.missing
        ? undefined
        : wants.sysfs.value.entries.find((e) => e.dev === name && e.attr === 'bridge/nf_call_iptables');
      return entry?.value === '1' && !wants.sysfs.missing ? cite(wants.sysfs, entry) : null;
    }

    /** Services of kube-proxy's other modes, by the first line that tells of them. */
    function otherServices(): LineCite | null {
      const { ipvs, nftText } = wants;
      const [service] = ipvs.missing ? [] : ipvs.value.services;
      if (service !== undefined && !ipvs.missing) return cite(ipvs, service);
      const table = nftText.missing ? undefined : nftText.value.tables.find((t) => t.name === 'kube-proxy');
      return table === undefined || nftText.missing ? null : cite(nftText, table);
    }
  },
});
