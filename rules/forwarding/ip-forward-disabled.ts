import { attachedBridges, ip4Overlays, podDevices } from '../../src/derive/devices.ts';
import { ingressDevices } from '../../src/derive/ingress.ts';
import { sysctl } from '../../src/derive/settings.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const MOST_CITED = 8;

export const rule = defineNodeRule({
  id: 'ip-forward-disabled',
  title: {
    bad: 'The node does not forward IPv4: its containers are cut off from everything but the node',
    good: 'The node forwards IPv4',
  },
  severity: 'critical',
  explanation:
    'With forwarding off the kernel drops packets that are not addressed to the node, without any ICMP error. ' +
    'A container can still ping the addresses of its own node, which makes it look half alive.',
  remediation: [
    {
      step: 'Turn forwarding on; if FORWARD has no filter yet, set up the firewall first, because the node becomes a router.',
      run: 'sysctl -w net.ipv4.ip_forward=1',
      verify: 'sysctl net.ipv4.ip_forward',
      undo: 'sysctl -w net.ipv4.ip_forward=0',
      risk: 'Without FORWARD rules the node then routes for anyone on its networks.',
    },
    {
      step: 'Keep it over a reboot.',
      run: "printf 'net.ipv4.ip_forward = 1\\n' > /etc/sysctl.d/99-container-forwarding.conf && sysctl --system",
      verify: 'sysctl --system | grep ip_forward',
      undo: 'rm /etc/sysctl.d/99-container-forwarding.conf',
    },
  ],
  references: [REF.ipSysctl, REF.dockerFirewall],
  needs: ['sysctl', 'addresses'],
  wants: ['links', 'bridges', 'sysfs', 'dockerNetworks', 'routes4', 'flannelEnv'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, source }) {
    const { bridges, doubt } = attachedBridges(source);
    const overlays = ip4Overlays(source);
    const pods = podDevices(source);
    const first = bridges[0] ?? overlays[0] ?? pods[0];
    if (first === undefined) {
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable(
        'no container bridge with a port and an IPv4 address, no overlay device and no pod’s device on this node',
      );
    }
    const { context } = node;
    if (context.netns !== null && context.pid1netns !== null && context.netns !== context.pid1netns) {
      return unknown(
        node.id,
        'the collector ran inside a container network namespace, so this is not the node’s own value',
        ['sys.sysctl'],
      );
    }
    const global = sysctl(facts.sysctl, 'net/ipv4/ip_forward');
    if (global === undefined)
      return unknown(node.id, 'ip_forward was not collected: egress of containers is not decided', ['sys.sysctl']);
    if (global.value !== '0') return pass(cite(facts.sysctl, global), cite(first.fact, first.device));
    // the kernel asks the flag of the device that a packet arrives on; ip_forward is only the switch that sets them all
    const per = ingressDevices(source).map(({ dev }) => ({
      dev,
      flag: sysctl(facts.sysctl, `net/ipv4/conf/${dev}/forwarding`),
    }));
    const on = per.filter((p) => p.flag !== undefined && p.flag.value !== '0');
    if (on.length > 0 && on.length === per.length) {
      return pass(cite(facts.sysctl, on[0]?.flag ?? global));
    }
    // some on, some off: interface-forwarding-disabled names the devices
    if (on.length > 0)
      return notApplicable('ip_forward is 0 but some devices forward: judged device by device', [
        cite(facts.sysctl, global),
      ]);
    const more = bridges.length + overlays.length === 0 ? pods.length - 1 : 0;
    const cut =
      bridges.length > 0
        ? bridges.map((b) => b.name).join(', ')
        : `${first.device.name}${more > 0 ? ` and ${more} more` : ''}`;
    const told = per.flatMap((p) => (p.flag === undefined ? [] : [cite(facts.sysctl, p.flag)]));
    return findings([
      {
        key: 'ip_forward',
        severity: 'critical',
        // a device that nobody asked may forward although the switch is off
        confidence: per.every((p) => p.flag !== undefined) ? 'proven' : 'likely',
        nodes: [node.id],
        message: `Node ${node.id} does not forward IPv4 (net.ipv4.ip_forward=0): containers on ${cut} are cut off from everything but the node itself`,
        cites: [
          cite(facts.sysctl, global),
          // a node may have a device for every pod
          ...told.slice(0, MOST_CITED),
          cite(first.fact, first.device),
        ],
        disprove: 'a conf.<device>.forwarding=1 on every device that container packets arrive on',
      },
    ]);
  },
});
