import { shellWord } from '../../src/core/shell.ts';
import { containerBridges, isInternal } from '../../src/derive/devices.ts';
import { awayRoutes6, bridges6, podDevices6, raDevices } from '../../src/derive/ipv6-devices.ts';
import { sysctl } from '../../src/derive/settings.ts';
import type { LineCite, Remediation } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const KEY = 'net/ipv6/conf/all/forwarding';
const MOST_CITED = 3;

const PERSIST: Remediation = {
  step: 'Keep it over a reboot.',
  run: "printf 'net.ipv6.conf.all.forwarding = 1\\n' > /etc/sysctl.d/99-container-forwarding6.conf && sysctl --system",
  verify: 'sysctl --system | grep ipv6.conf.all.forwarding',
  undo: 'rm /etc/sysctl.d/99-container-forwarding6.conf',
};

export const rule = defineNodeRule({
  id: 'ipv6-forward-disabled',
  title: {
    bad: 'The node does not forward IPv6: its containers reach nothing but the node by IPv6',
    good: 'The node forwards IPv6',
  },
  severity: 'high',
  explanation:
    'For IPv6 the kernel asks net.ipv6.conf.all.forwarding alone (since Linux 6.17 also force_forwarding of the device that a packet arrives on); the IPv4 switch says nothing of it. ' +
    'Dual-stack pods then wait for an answer by IPv6 before they try IPv4, pods with IPv6 alone are cut off. dockerd sets the IPv4 switch whenever it starts, this one only when it makes a network with IPv6; a hardening script or a later sysctl --system can take it back.',
  remediation: [turnOn([]), PERSIST],
  references: [REF.ipSysctl, REF.kubeDualStack],
  needs: ['sysctl', 'addresses'],
  wants: ['links', 'bridges', 'sysfs', 'dockerNetworks', 'routes6'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { netns, pid1netns } = node.context;
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(
        node.id,
        'the collector ran inside a container network namespace, so this is not the node’s own value',
        ['sys.sysctl'],
      );
    const bridges = bridges6(containerBridges(source).filter((b) => isInternal(source, b.name) !== true));
    const switched = sysctl(facts.sysctl, KEY);
    const on = switched !== undefined && switched.value !== '0';
    // a long list, which is read only where it matters
    const pods = on ? [] : podDevices6(source);
    const first = bridges[0] ?? pods[0];
    if (first === undefined) {
      if (on)
        return notApplicable('no container bridge has a port and an IPv6 address; the node forwards IPv6', [
          cite(facts.sysctl, switched),
        ]);
      if (!facts.addresses.closed)
        return unknown(node.id, 'the list of the node’s devices was not collected whole', ['ip.addr']);
      return notApplicable(
        'no container bridge has a port and an IPv6 address, and no pod has an IPv6 route of its own',
      );
    }
    const at = cite(first.fact, first.span);
    if (switched === undefined)
      return unknown(node.id, `${KEY} was not collected: IPv6 of containers on ${first.dev} is not decided`, [
        'sys.sysctl',
      ]);
    if (on) return pass(cite(facts.sysctl, switched), at);
    const routes = wants.routes6;
    if (routes.missing)
      return unknown(
        node.id,
        `IPv6 forwarding is off; whether containers on ${first.dev} have anywhere to go by IPv6 is not known`,
        ['ip.route6'],
      );
    // a pod's own route leads away from another pod
    const own = pods.length < 2 ? [...bridges, ...pods] : bridges;
    const ways = awayRoutes6(routes, new Set(own.map((d) => d.dev)));
    const [way] = ways;
    if (way === undefined) {
      if (routes.closed)
        return notApplicable(
          'IPv6 forwarding is off, and no IPv6 route leads from a container’s device to anywhere else',
          [cite(facts.sysctl, switched)],
        );
      return unknown(
        node.id,
        'IPv6 forwarding is off; the IPv6 routes, which tell whether containers have anywhere to go, were not collected whole',
        ['ip.route6'],
      );
    }
    const arrive = [...bridges, ...pods].map((d) => d.dev);
    const forced = arrive.flatMap((dev) => {
      const flag = sysctl(facts.sysctl, `net/ipv6/conf/${dev}/force_forwarding`);
      return flag === undefined || flag.value === '0' ? [] : [flag];
    });
    const [one] = forced;
    if (one !== undefined && forced.length === arrive.length) return pass(cite(facts.sysctl, one), at);
    const lines: LineCite[] = ways.slice(0, MOST_CITED).map((route) => cite(routes, route));
    const only = bridges.every((b) => b.alone) && pods.length === 0;
    const shown = arrive.slice(0, MOST_CITED).join(', ');
    const more = arrive.length > MOST_CITED ? ` and ${arrive.length - MOST_CITED} more` : '';
    return findings([
      {
        key: 'ipv6',
        severity: only ? 'critical' : 'high',
        confidence: one === undefined ? 'proven' : 'likely',
        nodes: [node.id],
        message: `Node ${node.id} does not forward IPv6 (net.ipv6.conf.all.forwarding=0): containers on ${shown}${more} reach nothing but the node itself by IPv6`,
        cites: [cite(facts.sysctl, switched), at, ...lines],
        remediation: [turnOn(raDevices(routes, facts.sysctl)), PERSIST],
        disprove: 'net.ipv6.conf.<device>.force_forwarding=1 (Linux 6.17 and later) on every device of containers',
      },
    ]);
  },
});

/** `learned`: devices whose default route comes from router advertisements, which a router ignores unless told. */
function turnOn(learned: readonly string[]): Remediation {
  const keep = learned.map((dev) => `sysctl -w net.ipv6.conf.${shellWord(dev.replaceAll('.', '/'))}.accept_ra=2 && `);
  return {
    step:
      learned.length === 0
        ? 'Turn IPv6 forwarding on; if FORWARD of ip6tables has no filter yet, set up the firewall first, because the node becomes a router.'
        : `Turn IPv6 forwarding on. The default route by ${learned.join(', ')} comes from router advertisements, which a router does not listen to: accept_ra=2 first keeps it. If FORWARD of ip6tables has no filter yet, set up the firewall before that.`,
    run: `${keep.join('')}sysctl -w net.ipv6.conf.all.forwarding=1`,
    verify: 'sysctl net.ipv6.conf.all.forwarding; ip -6 route show default',
    undo: 'sysctl -w net.ipv6.conf.all.forwarding=0',
    risk: 'Without FORWARD rules the node then routes IPv6 for anyone on its networks; devices with accept_ra=1 lose what router advertisements gave them when it runs out.',
  };
}
