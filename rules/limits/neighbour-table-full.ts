import { counted, isFromStart, lastLogged, span } from '../../src/derive/kernel-log.ts';
import { sysctl } from '../../src/derive/settings.ts';
import {
  absent,
  type Cite,
  cite,
  defineNodeRule,
  type Finding,
  findings,
  isClosed,
  type NodeVerdict,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** Share of gc_thresh3 beyond which a few more neighbours fill the table. */
const NEARLY = 0.9;
/** Seconds: what the kernel said within them is still the state of the node. */
const RECENT = 3600;
/** Also as kernels before 3.3 say it; not of IPv6 (ndisc_cache), which has a table of its own. */
const OVERFLOW = /(?<!ndisc_cache: )\bneighbou?r table overflow/i;

export const rule = defineNodeRule({
  id: 'neighbour-table-full',
  title: {
    bad: 'The neighbour (ARP) table is full, or was',
    good: 'The neighbour (ARP) table has room',
  },
  severity: 'high',
  explanation:
    'One limit, net.ipv4.neigh.default.gc_thresh3 (1024 by default), holds for the neighbours of the host and of all its containers together. Beyond it no new neighbour can be resolved: ' +
    'connections to some addresses stall at random ("No buffer space available", "neighbor table overflow"), those to known neighbours go on.',
  remediation: [
    {
      step: 'Raise the limits; an entry takes some 400 bytes.',
      run: 'sysctl -w net.ipv4.neigh.default.gc_thresh1=4096 net.ipv4.neigh.default.gc_thresh2=8192 net.ipv4.neigh.default.gc_thresh3=16384',
      verify: 'sysctl net.ipv4.neigh.default.gc_thresh3; head -2 /proc/net/stat/arp_cache',
      undo: 'sysctl -w net.ipv4.neigh.default.gc_thresh1=128 net.ipv4.neigh.default.gc_thresh2=512 net.ipv4.neigh.default.gc_thresh3=1024',
      risk: 'none known',
    },
    {
      step: 'Persist them.',
      run: "printf 'net.ipv4.neigh.default.gc_thresh%s\\n' '1 = 4096' '2 = 8192' '3 = 16384' > /etc/sysctl.d/99-neighbours.conf && sysctl -p /etc/sysctl.d/99-neighbours.conf",
      verify: 'sysctl net.ipv4.neigh.default.gc_thresh3',
      undo: 'rm /etc/sysctl.d/99-neighbours.conf',
      risk: 'none known',
    },
  ],
  references: [REF.arp, REF.ipSysctl],
  needs: ['sysctl'],
  wants: ['kernelLog', 'uptime', 'neighbourCounters', 'neighbours'],
  evaluate({ node, facts, wants, source }) {
    const limit = sysctl(facts.sysctl, 'net/ipv4/neigh/default/gc_thresh3');
    const max = Number(limit?.value ?? Number.NaN);
    if (limit === undefined || !(max > 0)) {
      if (isClosed(facts.sysctl))
        return notApplicable(
          'this network namespace shows no gc_thresh3: the table and its limit are those of the host',
        );
      return unknown(node.id, 'net.ipv4.neigh.default.gc_thresh3 was not collected', ['sys.sysctl']);
    }
    const at = cite(facts.sysctl, limit);
    const { kernelLog, neighbourCounters, neighbours } = wants;
    const counters = neighbourCounters.missing ? null : neighbourCounters;
    const row = counters?.value.rows.find((r) => r.form === 'proc' && 'entries' in r.values);
    const all = row?.values['entries'];
    // entries that somebody wrote by hand, as flannel does, do not count against the limit since Linux 5.0
    const listed = neighbours.missing ? [] : neighbours.value.entries.filter((e) => !e.ip.includes(':'));
    const kept = listed.filter((e) => e.state.includes('PERMANENT')).length;
    const used = all === undefined ? listed.length - kept : Math.max(0, all - kept);
    const shown: Cite[] = counters !== null && row !== undefined ? [cite(counters, row)] : [];
    const log = lastLogged(source, OVERFLOW);
    const state = `${used} entries of at most ${max}`;
    if (log !== null) {
      const { ago, fact } = log;
      const now = ago !== null && ago <= RECENT;
      const when = ago === null ? 'at a time that is not told' : `${span(ago)} before the collection`;
      const cites: [Cite, ...Cite[]] = [cite(fact, log.at), at, ...shown];
      if (now)
        return told(
          node.id,
          'full',
          'high',
          'proven',
          `the neighbour table of ${node.id} overflowed ${when} (${state} now): new neighbours were not resolved`,
          cites,
        );
      if (used < max * NEARLY)
        return told(
          node.id,
          'was full',
          'low',
          'likely',
          `the neighbour table of ${node.id} overflowed ${when}; it has ${state} now`,
          cites,
        );
    }
    const more = all === undefined ? ' of the host alone' : '';
    if (used >= max * NEARLY)
      return told(
        node.id,
        'nearly full',
        'high',
        'likely',
        `the neighbour table of ${node.id} is ${used >= max ? '' : 'nearly '}full: ${state}${more}`,
        [at, ...shown],
      );
    const fulls = counters === null ? null : counted(counters.value, 'table_fulls');
    if (counters !== null && fulls !== null && fulls.total > 0)
      return told(
        node.id,
        'was full',
        'low',
        'possible',
        `the neighbour table of ${node.id} was full ${fulls.total} times since the node started; when is not told, and it has ${state} now`,
        [cite(counters, { line: fulls.line }), at],
      );
    if (shown.length > 0) return pass(at, ...shown);
    if (!kernelLog.missing && isFromStart(kernelLog)) return pass(at, absent(kernelLog, 'neighbor table overflow'));
    return unknown(
      node.id,
      `how many neighbours the host and its containers have together, of at most ${max}, was not collected`,
      ['proc.arp-cache', 'log.dmesg'],
    );
  },
});

const told = (
  node: string,
  key: string,
  severity: Finding['severity'],
  confidence: Finding['confidence'],
  message: string,
  cites: readonly [Cite, ...Cite[]],
): NodeVerdict =>
  findings([
    {
      key,
      severity,
      confidence,
      nodes: [node],
      message,
      cites,
      ...(key === 'full' ? {} : { latent: true }),
      disprove: 'the limits were raised since, and the counter table_fulls of /proc/net/stat/arp_cache no longer grows',
    },
  ]);
