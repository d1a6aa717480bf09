import { counted, lastLogged, span } from '../../src/derive/kernel-log.ts';
import { sysctl } from '../../src/derive/settings.ts';
import {
  type Cite,
  cite,
  defineNodeRule,
  type Finding,
  findings,
  isClosed,
  type NodeVerdict,
  notApplicable,
  pass,
  type Remediation,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** Share of the table beyond which a burst fills it. */
const NEARLY = 0.9;
/** Seconds: what the kernel said within them is the state of the node; within an hour it may be over. */
const NOW = 600;
const RECENT = 3600;

const WHO: Remediation = {
  step: 'Find out who fills it: the sources with most connections.',
  run: "conntrack -L 2>/dev/null | grep -o 'src=[^ ]*' | sort | uniq -c | sort -rn | head",
  verify: 'sysctl net.netfilter.nf_conntrack_count',
  undo: 'none needed: it only reads',
  risk: 'Reading a large table takes some seconds of one processor.',
};

export const rule = defineNodeRule({
  id: 'conntrack-table-full',
  title: {
    bad: 'The connection tracking table is full, or was',
    good: 'The connection tracking table has room',
  },
  severity: 'critical',
  explanation:
    'Beyond nf_conntrack_max the kernel drops the first packet of every new connection that it would have to track, while those that it knows go on. Every service of the node seems to fail at random, also ssh. ' +
    'kube-proxy sets the limit when it starts (conntrack.maxPerCore and conntrack.min of its configuration).',
  remediation: [
    {
      step: 'Allow more connections; one takes some 300 bytes of memory.',
      run: 'sysctl -w net.netfilter.nf_conntrack_max=<twice as many>',
      verify: 'sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max',
      undo: 'sysctl -w net.netfilter.nf_conntrack_max=<the old value>',
    },
    WHO,
  ],
  references: [REF.nfConntrack, REF.conntrackFull],
  needs: ['sysctl'],
  wants: ['kernelLog', 'uptime', 'conntrackCounters'],
  evaluate({ node, facts, wants, source }) {
    const { netns, pid1netns } = node.context;
    const count = sysctl(facts.sysctl, 'net/netfilter/nf_conntrack_count');
    const max = sysctl(facts.sysctl, 'net/netfilter/nf_conntrack_max');
    const log = lastLogged(source, /\bnf_conntrack: table full, dropping packet/);
    if (netns !== null && pid1netns !== null && netns !== pid1netns)
      return unknown(node.id, 'it was collected in a container, which counts its own connections only', ['sys.sysctl']);
    if (max === undefined && log === null) {
      if (isClosed(facts.sysctl))
        return notApplicable('connection tracking is not loaded: there is no nf_conntrack_max');
      return unknown(node.id, 'nf_conntrack_count and nf_conntrack_max were not collected', [
        'sys.sysctl',
        'log.dmesg',
      ]);
    }
    const limit = Number(max?.value ?? Number.NaN);
    const used = Number(count?.value ?? Number.NaN);
    const cites: Cite[] = [count, max].flatMap((v) => (v === undefined ? [] : [cite(facts.sysctl, v)]));
    const filled = `${count?.value ?? '?'} of ${max?.value ?? '?'} entries`;
    if (log !== null) {
      const { ago, fact, at } = log;
      const when = ago === null ? 'at a time that is not told' : `${span(ago)} before the collection`;
      const of = { node: node.id, max: limit, cites: [cite(fact, at), ...cites] as const };
      const dropped = `${node.id} dropped new connections: its connection tracking table was full ${when} (${filled} now)`;
      if (used >= limit || (ago !== null && ago <= NOW)) return told(of, 'full', 'critical', 'proven', dropped);
      if (ago !== null && ago <= RECENT) return told(of, 'full', 'high', 'likely', dropped);
      if (!(used >= limit * NEARLY))
        return told(
          of,
          'was full',
          'low',
          'likely',
          `the connection tracking table of ${node.id} was full ${when}; it has ${filled} now`,
        );
    }
    const [first, ...more] = cites;
    if (first === undefined || count === undefined || max === undefined || !(limit > 0) || Number.isNaN(used))
      return unknown(node.id, 'how full the connection tracking table is was not collected', [
        'sys.sysctl',
        'ct.count',
        'ct.max',
      ]);
    const of = { node: node.id, max: limit, cites: [first, ...more] as const };
    if (used >= limit)
      return told(
        of,
        'full',
        'critical',
        'proven',
        `the connection tracking table of ${node.id} is full (${filled}): new connections are dropped`,
      );
    if (used >= limit * NEARLY)
      return told(
        of,
        'nearly full',
        'high',
        'likely',
        `the connection tracking table of ${node.id} is nearly full (${filled}): a burst of new connections fills it, and then they are dropped`,
      );
    const dropped = wants.conntrackCounters.missing ? null : counted(wants.conntrackCounters.value, 'drop');
    if (!wants.conntrackCounters.missing && dropped !== null && dropped.total > 0)
      return told(
        { ...of, cites: [cite(wants.conntrackCounters, { line: dropped.line }), ...cites] },
        'was full',
        'low',
        'possible',
        `connection tracking of ${node.id} has dropped ${dropped.total} packets since the node started; when is not told, and the table has ${filled} now`,
      );
    return pass(first, ...more);
  },
});

function told(
  { node, max, cites }: { readonly node: string; readonly max: number; readonly cites: readonly [Cite, ...Cite[]] },
  key: string,
  severity: Finding['severity'],
  confidence: Finding['confidence'],
  message: string,
): NodeVerdict {
  const more = Number.isFinite(max) ? String(max * 2) : '524288';
  const set = (n: string) => `sysctl -w net.netfilter.nf_conntrack_max=${n}`;
  return findings([
    {
      key,
      severity,
      confidence,
      nodes: [node],
      message,
      cites,
      ...(key === 'full' ? {} : { latent: true }),
      disprove: 'nf_conntrack_count stays far below nf_conntrack_max while connections fail',
      remediation: [
        {
          step: 'Allow more connections; one takes some 300 bytes of memory.',
          run: set(more),
          verify: 'sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max',
          undo: Number.isFinite(max) ? set(String(max)) : 'reboot the node',
          risk: 'none known',
        },
        {
          step: 'Persist it. Where kube-proxy runs set conntrack.maxPerCore or conntrack.min in its configuration as well: it writes the limit when it starts.',
          run: `echo 'net.netfilter.nf_conntrack_max = ${more}' > /etc/sysctl.d/99-conntrack.conf && sysctl -p /etc/sysctl.d/99-conntrack.conf`,
          verify: 'sysctl net.netfilter.nf_conntrack_max',
          undo: 'rm /etc/sysctl.d/99-conntrack.conf',
        },
        WHO,
      ],
    },
  ]);
}
