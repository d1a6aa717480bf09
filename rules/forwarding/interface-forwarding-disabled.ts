import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import { ingressDevices, type SideDevice, sideDevices } from '../../src/derive/ingress.ts';
import { type LiveSource, outward, POD_KINDS, podNetworks } from '../../src/derive/pods.ts';
import { sysctl } from '../../src/derive/settings.ts';
import type { Fact, Links, MissingFact } from '../../src/facts/index.ts';
import { HOOK_WANTS, hookNode, routesThrough } from '../../src/net/index.ts';
import type { Finding, LineCite, Undecided } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'interface-forwarding-disabled',
  title: {
    bad: 'Forwarding is off on one device although the node forwards',
    good: 'Every device that container traffic arrives on forwards',
  },
  severity: 'high',
  explanation:
    'The flag of the device that a packet arrives on decides, so a zero on flannel.1 kills only incoming overlay traffic while pings started on the node still leave. ' +
    'Hardening scripts that set conf.all.forwarding and then single devices cause it.',
  remediation: [
    {
      step: 'Turn forwarding on for the device (a dot in its name is written as a slash).',
      run: 'sysctl -w net.ipv4.conf.<dev>.forwarding=1',
      verify: 'sysctl net.ipv4.conf.<dev>.forwarding',
      undo: 'sysctl -w net.ipv4.conf.<dev>.forwarding=0',
    },
    {
      step: 'Persist it in sysctl.d plus a udev or networkd rule, because the device appears later than sysctl.d is applied.',
    },
  ],
  references: [REF.ipSysctl],
  needs: ['sysctl', 'addresses'],
  wants: [...HOOK_WANTS.filter((k) => k !== 'sysctl'), ...POD_KINDS, 'routes4'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const ingress = ingressDevices(source);
    if (!ingress.some((i) => !i.what.startsWith('uplink'))) {
      const { doubt } = attachedBridges(source);
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable(
        'no container bridge with a port and an IPv4 address, no overlay device and no pod’s device on this node',
      );
    }
    const off: Finding[] = [];
    const on: LineCite[] = [];
    const open: string[] = [];
    const flagOf = (dev: string) => sysctl(facts.sysctl, `net/ipv4/conf/${dev}/forwarding`);
    for (const { dev, what, fact, span } of ingress) {
      const flag = flagOf(dev);
      if (flag === undefined) open.push(dev);
      else if (flag.value !== '0') on.push(cite(facts.sysctl, flag));
      else off.push(finding(node.id, dev, what, [cite(facts.sysctl, flag), cite(fact as Fact<'addresses'>, span)]));
    }
    const global = sysctl(facts.sysctl, 'net/ipv4/ip_forward');
    if (global?.value === '0' && on.length === 0)
      return notApplicable('ip_forward is 0: ip-forward-disabled speaks', [cite(facts.sysctl, global)]);
    // writing ip_forward resets every device, so the one switch says nothing of the devices
    const ungiven = (dev: string): Undecided => ({
      nodes: [node.id],
      because: `conf.${dev}.forwarding was not collected`,
      evidence: ['sys.sysctl'],
    });
    const gaps = open.map(ungiven);
    const closed: { readonly side: SideDevice; readonly flag: LineCite; readonly at: LineCite }[] = [];
    for (const side of sideDevices(source)) {
      const flag = flagOf(side.dev);
      if (flag !== undefined && flag.value !== '0') continue;
      const used = usersOf(source, side.dev);
      const at = cite(side.fact as Fact<'addresses'>, side.span);
      const port =
        flag === undefined ? undefined : publishedOn(facts.addresses.value, wants.dockerContainers, side.dev);
      if (flag !== undefined && used.length > 0)
        off.push(finding(node.id, side.dev, `uplink of ${used.join(', ')}`, [cite(facts.sysctl, flag), at]));
      else if (flag !== undefined && port !== undefined)
        off.push(finding(node.id, side.dev, `docker publishes ${port.text}`, [cite(facts.sysctl, flag), port.cite]));
      else if (used.length > 0) {
        open.push(side.dev);
        gaps.push(ungiven(side.dev));
      } else if (flag === undefined || side.networks.length === 0 || side.networks.includes('0.0.0.0/0'))
        gaps.push({
          nodes: [node.id],
          because: untold(side, flag === undefined),
          evidence: side.networks.length === 0 ? ['ip.route4'] : ['ct.table'],
        });
      else closed.push({ side, flag: cite(facts.sysctl, flag), at });
    }
    const [first, ...others] = closed;
    if (first !== undefined)
      off.push(
        aside(
          node.id,
          [first.side, ...others.map((c) => c.side)],
          [first.flag, first.at, ...others.flatMap((c) => [c.flag, c.at]).slice(0, 4)],
        ),
      );
    if (isNonEmpty(off)) return findings(off, gaps);
    const [firstOn, ...rest] = on;
    if (open.length > 0 || firstOn === undefined) {
      return unknown(node.id, `per-device forwarding flags are missing for ${open.join(', ') || 'every device'}`, [
        'sys.sysctl',
      ]);
    }
    return isNonEmpty(gaps) ? { kind: 'unknown', unknown: gaps } : pass(firstOn, ...rest);
  },
});

/** Container bridges whose packets to the outside routing sends by the device: policy rules may choose it by their source. */
const usersOf = (source: LiveSource & Parameters<typeof hookNode>[0], dev: string): readonly string[] => {
  const host = hookNode(source);
  return podNetworks(source)
    .filter((net) => routesThrough(host, outward(net)).some((r) => r.dev === dev))
    .map((net) => net.bridge.name);
};

/** A port that docker publishes on an address of the device alone: DNAT leaves the device that the packet arrives on, whose flag decides (measured). */
function publishedOn(
  { devices }: Links,
  containers: Fact<'dockerContainers'> | MissingFact<'dockerContainers'>,
  dev: string,
): { readonly text: string; readonly cite: LineCite } | undefined {
  if (containers.missing) return undefined;
  const own = devices.find((d) => d.name === dev)?.addresses.map((a) => a.address) ?? [];
  for (const c of containers.value.containers) {
    const port =
      c.state === 'running' ? c.ports.find((p) => p.hostIp !== undefined && own.includes(p.hostIp)) : undefined;
    if (port !== undefined)
      return { text: `${port.hostIp}:${port.hostPort} of ${c.name.replace(/^\//, '')}`, cite: cite(containers, c) };
  }
  return undefined;
}

/** Devices that nothing of the containers is known to use: closed to them on purpose, as those of management networks are, or not. */
function aside(node: string, sides: readonly SideDevice[], cites: Finding['cites']): Finding {
  const list = sides.map(({ dev, networks }) => `${dev} (${networks.slice(0, 3).join(', ')})`).join(', ');
  const one = sides.length === 1;
  return {
    key: 'aside',
    severity: 'info',
    confidence: 'proven',
    nodes: [node],
    message: `${list} of ${node} ${one ? 'does' : 'do'} not forward: containers get no answers from there, and connections that arrive there for them are dropped; nothing that was collected says that they talk there`,
    cites,
    disprove: 'containers talk to these networks: then turn forwarding on there',
    remediation: [
      {
        step: 'As it should be for a network that containers are kept from. Where they are to talk there, turn forwarding on for the device.',
        run: sides
          .map(({ dev }) => `sysctl -w ${shellWord(`net.ipv4.conf.${dev.replaceAll('.', '/')}.forwarding=1`)}`)
          .join('; '),
        verify: sides
          .map(({ dev }) => `sysctl ${shellWord(`net.ipv4.conf.${dev.replaceAll('.', '/')}.forwarding`)}`)
          .join('; '),
        undo: sides
          .map(({ dev }) => `sysctl -w ${shellWord(`net.ipv4.conf.${dev.replaceAll('.', '/')}.forwarding=0`)}`)
          .join('; '),
      },
    ],
  };
}

/** It may be closed to containers on purpose, as the device of a management network is. */
const untold = ({ dev, networks }: SideDevice, missing: boolean): string =>
  `whether containers talk by ${dev} (${networks.slice(0, 3).join(', ') || 'its routes were not collected whole'}) is not known: ${
    missing ? `conf.${dev}.forwarding was not collected` : 'it does not forward'
  }, and without forwarding answers from there and connections to published ports are dropped`;

function finding(node: string, dev: string, what: string, cites: Finding['cites']): Finding {
  const key = `net.ipv4.conf.${dev.replaceAll('.', '/')}.forwarding`;
  return {
    key: dev,
    severity: 'high',
    confidence: 'proven',
    nodes: [node],
    message: `Forwarding is off on ${dev} (${what}) of ${node} although the node forwards: packets that arrive on ${dev} for containers or other nodes are dropped`,
    cites,
    remediation: [
      {
        step: `Turn forwarding on for ${dev}.`,
        run: `sysctl -w ${shellWord(`${key}=1`)}`,
        verify: `sysctl ${shellWord(key)}`,
        undo: `sysctl -w ${shellWord(`${key}=0`)}`,
      },
      {
        step: 'Persist it in sysctl.d plus a udev or networkd rule, because the device appears later than sysctl.d is applied.',
      },
    ],
    disprove: `no routed traffic ever arrives on ${dev}`,
  };
}
