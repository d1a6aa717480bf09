import { percent } from '../../src/core/percent.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { effectiveConf } from '../../src/derive/cni.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import { hairpinOf } from '../../src/derive/hairpin.ts';
import { kubeServices, SERVICE_KINDS } from '../../src/derive/local-services.ts';
import { podLinks } from '../../src/derive/pod-links.ts';
import { POD_KINDS } from '../../src/derive/pods.ts';
import { type Endpoint, endpointsOf, targetOf } from '../../src/derive/service-endpoints.ts';
import { asksIptables, HOOK_WANTS, hookNode } from '../../src/net/index.ts';
import type { Cite } from '../../src/rule/index.ts';
import { cite, defineNodeRule, isClosed, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const CONF = {
  step: 'Set hairpinMode in the CNI configuration for pods to come: with flannel in its delegate (kube-flannel-cfg), else in the plugin bridge.',
  run: 'grep -n hairpinMode /etc/cni/net.d/*',
  verify: 'bridge -d link show   # hairpin on, for a pod that was made after that',
} as const;

export const rule = defineNodeRule({
  id: 'hairpin-mode-off',
  title: {
    bad: 'A pod cannot reach itself through its own service: hairpin mode of its port is off',
    good: 'Pods reach themselves through their own services',
  },
  severity: 'medium',
  explanation:
    'kube-proxy may lead a pod’s connection to a service back to that very pod. With bridge netfilter the frame is translated while it is on the bridge, and a bridge sends nothing out by the port where it came in unless that port has hairpin mode. ' +
    'Whoever has several backends fails now and then, whoever has one always; other clients are served. Only pods that call their own service notice it.',
  remediation: [
    {
      step: 'Switch it on for the pods that run.',
      run: 'for p in /sys/class/net/cni0/brif/*; do echo 1 > $p/hairpin_mode; done',
      verify: 'bridge -d link show',
      undo: 'for p in /sys/class/net/cni0/brif/*; do echo 0 > $p/hairpin_mode; done',
      risk: 'none known: what a pod sends to itself comes back to it',
    },
    CONF,
  ],
  references: [REF.kubeDebugService, REF.cniBridge, REF.flannelCni],
  needs: ['addresses'],
  needsAny: SERVICE_KINDS,
  wants: [...HOOK_WANTS, ...POD_KINDS, 'routes4', 'netnsIndex', 'bridgePorts', 'cniConf'],
  explains: ['trace-pod-to-service-and-external'],
  evaluate({ node, source, wants }) {
    const services = kubeServices(source);
    if (services === null) return notApplicable('no rules of kube-proxy’s iptables mode are on this node');
    const { dockerNetworks: networks } = wants;
    const docker = new Set(networks.missing ? [] : networks.value.networks.flatMap((n) => n.bridge ?? []));
    const bridges = attachedBridges(source).bridges.filter((b) => !docker.has(b.name));
    const { links } = podLinks(source);
    const off: { bridge: (typeof bridges)[number]; ip: string; port: string; told: Cite }[] = [];
    const on: Cite[] = [];
    let untold: string | null = null;
    for (const bridge of bridges) {
      for (const { inner, outer } of links) {
        if (!bridge.ports.includes(outer.name)) continue;
        const said = hairpinOf(source, outer.name);
        if (said === null) untold ??= outer.name;
        else if (said.on) on.push(cite(said.fact, said.span));
        else
          for (const a of inner.addresses)
            if (a.family === 4) off.push({ bridge, ip: a.address, port: outer.name, told: cite(said.fact, said.span) });
      }
    }
    const [first, ...more] = on;
    if (off.length === 0 && untold !== null)
      return unknown(node.id, `whether ${untold} has hairpin mode was not collected`, [
        'ip.link',
        'bridge.link',
        'bridge.sysfs',
      ]);
    if (off.length === 0 && first !== undefined) return pass(first, ...more.slice(0, 7));
    if (off.length === 0) return notApplicable('no pod of this node is known by its port of a bridge');
    const ruleset = services.value;
    const byAddress = new Map<string, Endpoint>();
    for (const e of endpointsOf(ruleset)) if (!byAddress.has(e.address)) byAddress.set(e.address, e);
    const tally = new NodeTally(node.id);
    for (const bridge of bridges) {
      const backends = off.flatMap((o) => {
        const endpoint = o.bridge === bridge ? byAddress.get(o.ip) : undefined;
        return endpoint === undefined ? [] : [{ ...o, endpoint }];
      });
      if (!isNonEmpty(backends)) continue;
      const what = `whether pods on ${bridge.name} reach themselves through their services`;
      const shown = asksIptables(hookNode(source), bridge.name);
      if (shown.on === null) {
        tally.unknown(`${what}: ${shown.because}`, shown.evidence);
        continue;
      }
      // the node routes it then, and that needs no hairpin [V07]
      if (!shown.on) continue;
      if (bridge.device.flags.includes('PROMISC')) {
        const because = `${what}: ${bridge.name} is promiscuous, which the kubelet and the plugin bridge take for hairpin mode, and Linux 6.18 does not`;
        tally.unknown(because, []);
        continue;
      }
      const [{ ip, endpoint, told }] = backends;
      const nat = ruleset.tables.get('nat');
      const target = nat === undefined ? null : targetOf(nat, endpoint.chain);
      const conf = effectiveConf(wants.cniConf);
      const plugin = conf?.value.plugins.find((p) => p.hairpinMode === false);
      const share =
        endpoint.share === null || endpoint.share > 0.99 ? '' : ` with ${percent(endpoint.share)} of its connections`;
      const others = backends.length > 1 ? ` (and ${backends.length - 1} more)` : '';
      tally.fault({
        key: bridge.name,
        severity: 'medium',
        confidence: 'proven',
        nodes: [node.id],
        about: backends.map((b) => b.ip),
        message: `Pod ${ip} on ${node.id}${others} cannot reach itself through its service ${endpoint.service}${share}: hairpin mode of its port of ${bridge.name} is off`,
        cites: [
          told,
          ...(target === null ? [] : [cite(services, { line: target.line })]),
          ...shown.cites.map((c) => cite(c.fact, c)),
          ...(conf === undefined || plugin === undefined ? [] : [cite(conf, plugin)]),
        ],
        disprove: `a connection from ${ip} to its own service that answers every time`,
        remediation: [
          {
            step: 'Switch it on for the pods that run.',
            run: `for p in /sys/class/net/${shellWord(bridge.name)}/brif/*; do echo 1 > $p/hairpin_mode; done`,
            verify: `grep -H . /sys/class/net/${shellWord(bridge.name)}/brif/*/hairpin_mode`,
            undo: `for p in /sys/class/net/${shellWord(bridge.name)}/brif/*; do echo 0 > $p/hairpin_mode; done`,
            risk: 'none known: what a pod sends to itself comes back to it',
          },
          CONF,
        ],
      });
    }
    const verdict = tally.verdict([off[0]?.told as Cite]);
    if (verdict.kind !== 'pass') return verdict;
    if (!isClosed(services))
      return unknown(node.id, 'the rules of services were not collected whole', [services.evidence]);
    return notApplicable(
      'hairpin mode is off where no pod is a backend of a service, or where frames pass iptables by',
      [off[0]?.told as Cite],
    );
  },
});
