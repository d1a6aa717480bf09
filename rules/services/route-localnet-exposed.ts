import { addressAt, formatIp, parsePrefix } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { uplinks } from '../../src/derive/devices.ts';
import { type Placed, sysctl } from '../../src/derive/settings.ts';
import type { Fact, Sockets } from '../../src/facts/index.ts';
import { askInput, HOOK_WANTS, hookNode } from '../../src/net/index.ts';
import {
  type Cite,
  cite,
  defineNodeRule,
  type Finding,
  isClosed,
  notApplicable,
  unknown,
} from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'route-localnet-exposed',
  title: {
    bad: 'Programs that listen on 127.0.0.1 can be reached from the network',
    good: 'What listens on 127.0.0.1 is for the node alone',
  },
  severity: 'high',
  explanation:
    'With route_localnet=1 the kernel takes packets for 127.0.0.0/8 from the network, and answers them. kube-proxy (iptables mode) sets it so that NodePorts work on localhost, and the kubelet writes a rule that drops what is not for a NodePort. ' +
    'Where that rule was flushed or another backend of iptables has it, every host of the same network reaches programs that trust localhost (CVE-2020-8558).',
  remediation: [
    {
      step: 'Drop what the network sends to loopback addresses; the kubelet writes the same rule when it starts.',
      run: 'iptables -I INPUT ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
      verify: 'iptables -S | grep -- "-d 127.0.0.0/8"',
      undo: 'iptables -D INPUT ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
      risk: 'none known',
    },
    {
      step: 'Restart the kubelet and find out who flushed its rules; or let kube-proxy do without (iptables.localhostNodePorts: false, since 1.26) and set route_localnet to 0.',
    },
  ],
  references: [REF.ipSysctl, REF.cveLocalnet],
  needs: ['sysctl', 'sockets', 'addresses', 'routes4'],
  wants: HOOK_WANTS.filter((k) => k !== 'sysctl'),
  evaluate({ node, facts, source }) {
    const { sockets, addresses } = facts;
    const devs = uplinks(source);
    if (devs.length === 0) {
      if (!facts.routes4.closed)
        return unknown(node.id, 'the routes were not collected whole', [facts.routes4.evidence]);
      return notApplicable('no gateway: the node is on no network');
    }
    const tally = new NodeTally(node.id);
    const all = sysctl(facts.sysctl, 'net/ipv4/conf/all/route_localnet');
    const listeners = localListeners(sockets);
    for (const { dev } of devs) {
      const own = sysctl(facts.sysctl, `net/ipv4/conf/${dev}/route_localnet`);
      const on = [all, own].find((v) => v !== undefined && v.value !== '0');
      if (on === undefined) {
        if (all !== undefined && own !== undefined) tally.passed([cite(facts.sysctl, own)]);
        else
          tally.unknown(`whether ${dev} takes packets for loopback addresses: route_localnet was not collected`, [
            'sys.sysctl',
          ]);
        continue;
      }
      const prefix = addresses.value.devices
        .find((d) => d.name === dev)
        ?.addresses.flatMap((a) => (a.family === 4 ? (parsePrefix(`${a.address}/${a.prefixLength}`) ?? []) : []))[0];
      const near = prefix === undefined ? null : addressAt(prefix, 2 ** (32 - prefix.length) - 2);
      if (near === null) {
        tally.unknown(`which network ${dev} is on is not known`, ['ip.addr']);
        continue;
      }
      const sample = { src: formatIp(near), proto: 'tcp', iif: dev } as const;
      const asked = (listeners.length === 0 ? [null] : listeners.slice(0, MOST)).map((l) => ({
        listener: l,
        answer: askInput(hookNode(source), { ...sample, dst: l?.address ?? '127.0.0.1', dport: l?.port ?? ANY_PORT }),
      }));
      tally.left(listeners.length - MOST, listeners.length, 'programs on loopback addresses');
      const unsure = asked.find(({ answer }) => answer.verdict === 'unknown');
      const passed = asked.filter(({ answer }) => answer.verdict === 'accept');
      if (passed.length > 0) {
        const open = passed.flatMap(({ listener }) => listener ?? []);
        if (open.length === 0 && !isClosed(sockets))
          tally.unknown('which programs listen on 127.0.0.1 was not collected whole', [sockets.evidence]);
        else tally.fault(finding(node.id, dev, on, open, facts.sysctl, sockets));
      } else if (unsure !== undefined)
        tally.unknown(
          `whether a rule drops what ${dev} takes for loopback addresses: ${unsure.answer.because}`,
          unsure.answer.evidence,
        );
      else tally.passed(asked.flatMap(({ answer }) => answer.deciders.slice(0, 1).map((d) => cite(d.fact, d))));
    }
    return tally.verdict([cite(facts.sysctl, all ?? { line: 1 })]);
  },
});

/** So many listeners are asked about. */
const MOST = 64;
const ANY_PORT = 65000;
/** The stub of systemd-resolved, healthz of the kubelet, metrics of kube-proxy: nothing that trusts whoever asks. */
const HARMLESS: ReadonlySet<number> = new Set([53, 10248, 10249]);

type Listener = Sockets['listeners'][number];

/** Programs that listen for the node alone; what listens on all addresses is reached by those of the node anyway. */
const localListeners = ({ value }: Fact<'sockets'>): readonly Listener[] =>
  value.listeners
    .filter((l) => l.proto === 'tcp' && l.family === 4 && l.address.startsWith('127.'))
    .sort((a, b) => Number(HARMLESS.has(a.port)) - Number(HARMLESS.has(b.port)));

function finding(
  node: string,
  dev: string,
  on: Placed<string>,
  open: readonly Listener[],
  sysctls: Fact<'sysctl'>,
  sockets: Fact<'sockets'>,
): Finding {
  const serious = open.filter((l) => !HARMLESS.has(l.port));
  const shown = (serious.length > 0 ? serious : open).slice(0, 4);
  const names = shown.map(
    (l) => `${l.address}:${l.port}${l.processes[0] === undefined ? '' : ` (${l.processes[0].name})`}`,
  );
  const more = Math.max(0, serious.length - shown.length);
  const cites: Cite[] = [cite(sysctls, on), ...shown.map((l) => cite(sockets, l))];
  const key = `net.ipv4.conf.${dev.replaceAll('.', '/')}.route_localnet`;
  return {
    key: dev,
    severity: serious.length > 0 ? 'high' : 'low',
    confidence: 'proven',
    nodes: [node],
    message:
      names.length === 0
        ? `${node} takes packets for loopback addresses from the network of ${dev} (route_localnet=1), and no rule drops them; nothing listens there yet`
        : `hosts on the network of ${dev} reach what listens on the loopback address of ${node}: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}; route_localnet=1 lets them in, and no rule drops them`,
    cites: isNonEmpty(cites) ? cites : [cite(sysctls, on)],
    latent: true,
    disprove: `a firewall between ${node} and its neighbours drops packets for 127.0.0.0/8`,
    remediation: [
      {
        step: `Drop what the network sends to loopback addresses of ${node}; the kubelet writes the same rule when it starts (KUBE-FIREWALL).`,
        run: 'iptables -I INPUT ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
        verify: 'iptables -S INPUT | grep -- "-d 127.0.0.0/8"',
        undo: 'iptables -D INPUT ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
        risk: 'none known',
      },
      {
        step: 'Where no NodePort is used on localhost turn it off: kube-proxy with iptables.localhostNodePorts: false (1.26 and later), and then the setting.',
        run: `sysctl -w net.ipv4.conf.all.route_localnet=0 ${shellWord(`${key}=0`)}`,
        verify: `sysctl net.ipv4.conf.all.route_localnet ${shellWord(key)}`,
        undo: 'sysctl -w net.ipv4.conf.all.route_localnet=1',
        risk: 'NodePorts no longer answer on 127.0.0.1 of the node.',
      },
    ],
  };
}
