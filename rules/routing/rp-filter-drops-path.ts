import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import { vteps } from '../../src/derive/overlay.ts';
import { podWays } from '../../src/derive/pod-ways.ts';
import { OUTSIDE, outward, POD_KINDS, podNetworks, routedPods } from '../../src/derive/pods.ts';
import { askSource, HOOK_WANTS, hookNode, routesThrough, type SourceAnswer } from '../../src/net/index.ts';
import { type Cite, cite, defineNodeRule, type Finding, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'rp-filter-drops-path',
  title: {
    bad: 'The reverse path filter of a device drops what arrives there by design',
    good: 'The reverse path filter lets in what arrives for containers',
  },
  severity: 'high',
  explanation:
    'With rp_filter=1 the kernel drops a packet unless the route back to its source leaves by the device that it came in by. The larger value of conf.all and of the device counts. ' +
    'Nodes with two networks send on one and receive on the other: their overlay or the answers to their containers are then lost without a trace (only TcpExtIPReversePathFilter counts).',
  remediation: [
    {
      step: 'Make the filter of the device loose: a route back by any device is enough.',
      run: 'sysctl -w net.ipv4.conf.<dev>.rp_filter=2',
      verify: 'sysctl net.ipv4.conf.<dev>.rp_filter; nstat -az TcpExtIPReversePathFilter',
      undo: 'sysctl -w net.ipv4.conf.<dev>.rp_filter=1',
      risk: 'Packets with a forged source of another network of the node are let in on this device.',
    },
    { step: 'Persist it in sysctl.d; better, let packets leave by the device that their answers arrive on.' },
  ],
  references: [REF.ipSysctl, REF.rfc3704],
  needs: ['sysctl', 'routes4', 'addresses'],
  wants: [...HOOK_WANTS.filter((k) => k !== 'sysctl'), ...POD_KINDS, 'fdb'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, wants, source }) {
    const { sysctl, addresses } = facts;
    const nets = [...podNetworks(source), ...routedPods(source)];
    const ends = podWays(source).filter((w) => w.range === null);
    if (nets.length === 0 && ends.length === 0) {
      const { doubt } = attachedBridges(source);
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable('no container with a network of its own, and no end of an overlay on this node');
    }
    const host = hookNode(source);
    const tally = new NodeTally(node.id);
    const vrf = !wants.rules4.missing && wants.rules4.value.rules.some((r) => r.l3mdev === true);
    const tell = (what: Arrival, answer: SourceAnswer) => {
      const { verdict, back, mode } = answer;
      if (verdict === 'valid') return tally.passed(answer.cites.map((c) => cite(c.fact, c)));
      // an own address as a source, or a martian one, is no matter of the filter
      if (verdict === 'dropped' && mode !== 1 && mode !== 2) return;
      if (verdict === 'unknown')
        return tally.unknown(`whether ${what.dev} takes ${what.name}: ${answer.because}`, answer.evidence);
      const lan = addresses.value.devices.find((d) => d.name === back?.dev);
      if (vrf) return tally.unknown(`${what.dev} may be in a VRF, whose routes were not followed`, ['ip.rule4']);
      if (back?.type === 'unicast' && lan?.flags.includes('BROADCAST') !== true)
        return tally.unknown(
          `the route back to ${what.src} leads into ${back.dev}: whether ${what.name} arrive there or on ${what.dev}, whose filter would drop them, is not known`,
          ['ip.route4'],
        );
      tally.fault(finding(node.id, what, answer));
    };
    for (const { name, src, dst, oif, proto } of ends)
      if (src !== null)
        tell(
          {
            name: name.replace(/^the packets of (\S+) to other nodes$/, 'what other nodes send to $1'),
            dev: oif,
            src: dst,
            kind: 'overlay',
          },
          askSource(host, { src: dst, dst: src, proto, iif: oif, oif: null }),
        );
    for (const net of nets)
      for (const { dev } of routesThrough(host, outward(net))) {
        if (dev === net.bridge.name) continue;
        const { name } = net.bridge;
        const marks = sysctl.value.values.find((v) => /src_valid_mark$/.test(v.key) && v.value === '1');
        const answer = askSource(host, { src: OUTSIDE, dst: net.sample, proto: 'tcp', iif: dev, oif: name });
        const what = {
          name: `answers from outside to containers on ${name}`,
          dev,
          src: 'addresses outside',
          kind: 'answers',
        } as const;
        if (answer.verdict === 'dropped' && marks !== undefined)
          tally.unknown(
            `whether ${dev} takes ${what.name}: src_valid_mark is set, and marks that connections keep were not followed`,
            ['ct.table'],
          );
        else tell(what, answer);
      }
    const [vtep] = vteps(source);
    const [net] = nets;
    const line = net?.bridge.device.line ?? vtep?.line ?? 1;
    return tally.verdict([cite(addresses, { line })]);
  },
});

/** What arrives by a device. */
interface Arrival {
  readonly name: string;
  readonly dev: string;
  readonly src: string;
  readonly kind: 'overlay' | 'answers';
}

function finding(node: string, { name, dev, src, kind }: Arrival, { mode, back, cites }: SourceAnswer): Finding {
  const leads =
    back === null || back.type === 'none'
      ? 'there is no route back'
      : back.type === 'unicast'
        ? `the route back leads by ${back.dev}`
        : `the route back is ${back.text}`;
  const how = mode === 1 ? 'strict' : 'loose';
  const key = `net.ipv4.conf.${dev.replaceAll('.', '/')}.rp_filter`;
  const all: Cite[] = cites.map((c) => cite(c.fact, c));
  return {
    key: `${kind} ${dev}`,
    severity: 'high',
    confidence: 'likely',
    nodes: [node],
    message: `${node} drops ${name}: rp_filter is ${how} on ${dev}, where packets of ${src} arrive, and ${leads}`,
    cites: isNonEmpty(all)
      ? all
      : [{ kind: 'absent', node, evidence: 'ip.route4', path: 'host/ip/route4.txt', absent: `a route to ${src}` }],
    about: ['rp_filter'],
    disprove: `these packets arrive on ${back?.type === 'unicast' ? back.dev : 'another device'}, not on ${dev}, as where both are plugged into one LAN and answer ARP for each other’s addresses`,
    remediation: [
      {
        step:
          mode === 1
            ? `Make the filter of ${dev} loose: a route back by any device is then enough.`
            : `Turn the filter of ${dev} off, or give the node a route back; conf.all has to be 0 as well, for the larger value counts.`,
        run:
          mode === 1
            ? `sysctl -w ${shellWord(`${key}=2`)}`
            : `sysctl -w net.ipv4.conf.all.rp_filter=0 ${shellWord(`${key}=0`)}`,
        verify: `sysctl ${shellWord(key)}; nstat -az TcpExtIPReversePathFilter`,
        undo: `sysctl -w ${shellWord(`${key}=${mode}`)}`,
        risk: 'Packets with a forged source of another network of the node are let in on this device.',
      },
      {
        step: `Persist it as ${key} in /etc/sysctl.d.`,
        run: `printf '%s\\n' ${shellWord(`${key} = 2`)} > /etc/sysctl.d/99-rp-filter.conf`,
        verify: 'cat /etc/sysctl.d/99-rp-filter.conf',
        undo: 'rm /etc/sysctl.d/99-rp-filter.conf',
      },
      kind === 'overlay'
        ? {
            step: 'Better: let flanneld of all nodes use one network (--iface, --iface-regex), so that packets and answers take one way.',
          }
        : {
            step: 'Better: let a policy rule choose by the source of the packets in place of a mark, which the filter does not see.',
          },
    ],
  };
}
