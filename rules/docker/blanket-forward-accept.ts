import { formatPrefix } from '../../src/core/address.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { forwardGuards } from '../../src/derive/blanket-accept.ts';
import { attachedBridges, podDevices } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { HOOK_KINDS, hookNode } from '../../src/net/index.ts';
import type { Cite, Finding, NodeView, Remediation, Undecided } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, isClosed, notApplicable } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [...HOOK_KINDS, 'bridges', 'sysfs', 'dockerNetworks', 'dockerUnit', 'flannelEnv'] as const;
type View = NodeView<never, (typeof WANTS)[number]>;

const find = (chain: string): Remediation => ({
  step: 'Find what writes it, and take it out there: ExecStartPost= of a unit, rc.local, a saved ruleset.',
  run: `grep -rns -e '${chain}.*-j ACCEPT' /etc/systemd/system /lib/systemd/system /etc/rc.local /etc/iptables /etc/sysconfig /etc/network`,
});

export const rule = defineNodeRule({
  id: 'blanket-forward-accept',
  title: {
    bad: 'FORWARD accepts everything before the rules that keep containers apart are asked',
    good: 'Nothing in FORWARD accepts everything in front of the rules that keep containers apart',
  },
  severity: 'high',
  explanation:
    'The first rule that fits decides. An accept of everything in front of DOCKER-USER and of Docker’s own rules, or of network policies, switches them all off: networks reach one another, and everybody who has a route to the node reaches every port of its containers, published or not. ' +
    'It is a common remedy for a FORWARD that drops what flannel carries, which needs two narrow rules.',
  remediation: [
    {
      step: 'Delete the rule; let through by narrow rules in DOCKER-USER what is needed.',
      run: 'iptables -D FORWARD -j ACCEPT',
      verify: 'iptables -S FORWARD',
      undo: 'iptables -I FORWARD -j ACCEPT',
      risk: 'What this rule alone let through is dropped, if the policy of FORWARD is DROP.',
    },
    find('FORWARD'),
  ],
  references: [REF.dockerFirewall],
  needs: [],
  needsAny: ['iptables', 'iptablesNft', 'iptablesLegacy'],
  wants: WANTS,
  explains: ['docker-rules-missing', 'docker-user-ineffective'],
  evaluate(view) {
    const { node, source } = view;
    const { bridges, doubt } = attachedBridges(source);
    const used = bridges.length > 0 || podDevices(source).length > 0;
    if (!used && doubt === null) return notApplicable('no container network on this node');
    const found: Finding[] = [];
    const passed: Cite[] = [];
    const open: Undecided[] = [];
    for (const { fact, ruleset } of hookNode(source).host.rules(4).rulesets) {
      const table = ruleset.tables.get('filter');
      const guards = table === undefined ? null : forwardGuards(table);
      if (guards?.blanket != null && used) found.push(opened(view, fact, guards.blanket));
      else if (guards?.blanket != null)
        open.push({
          nodes: [node.id],
          because: `whether "${guards.blanket.rule.text}" opens containers: ${doubt}`,
          evidence: ['ip.addr', 'bridge.brctl-show'],
        });
      else if (!isClosed(fact))
        open.push({
          nodes: [node.id],
          because: `whether FORWARD accepts everything: ${fact.path} was not collected whole`,
          evidence: [fact.evidence],
        });
      else passed.push(...(guards?.asked ?? []).slice(0, 2).map((r) => cite(fact, { line: r.line })));
    }
    if (isNonEmpty(found)) return findings(found, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    if (isNonEmpty(passed)) return { kind: 'pass', cites: passed };
    return notApplicable('FORWARD of iptables leads to no rules that keep containers apart');
  },
});

type Ruled = ReturnType<ReturnType<typeof hookNode>['host']['rules']>['rulesets'][number];
type Blanket = NonNullable<ReturnType<typeof forwardGuards>['blanket']>;

function opened({ node, wants, source }: View, fact: Ruled['fact'], { rule, times, behind }: Blanket): Finding {
  const iptables = iptablesOf(fact.evidence);
  const names = [...new Set(behind.map((r) => r.target?.name ?? ''))];
  const { dockerUnit } = wants;
  const writer = dockerUnit.missing
    ? undefined
    : dockerUnit.value.entries.find(
        (e) => /^ExecStart(Post|Pre)$/.test(e.key) && /iptables.* FORWARD .*-j ACCEPT/.test(e.value),
      );
  const spec = rule.text.replace(/^-A /, '');
  const plain = /^[\w .:/!,+@-]+$/.test(spec);
  const one = `${iptables} -D ${spec}`;
  const remediation: Remediation[] = [
    ...narrow(source, iptables, names),
    plain
      ? {
          step: `Delete the rule${times > 1 ? ` (it is there ${times} times)` : ''}.`,
          run: times > 1 ? `while ${one} 2>/dev/null; do :; done` : one,
          verify: `${iptables} -S ${rule.chain}`,
          undo: `${iptables} -I ${spec}`,
          risk: 'What this rule alone let through is dropped, if the policy of FORWARD is DROP.',
        }
      : { step: `Delete "${rule.text}".` },
    find(/^[\w-]+$/.test(rule.chain) ? rule.chain : 'FORWARD'),
  ];
  return {
    key: rule.text,
    severity: 'high',
    confidence: 'proven',
    nodes: [node.id],
    message: `"${rule.text}" on ${node.id} lets ${/state /.test(rule.text) ? 'every new connection' : 'every forwarded packet'} through${times > 1 ? ` (${times} times)` : ''}: none comes to ${names.slice(0, 4).join(', ')} behind it, which keep containers apart and strangers off them${writer === undefined ? '' : '; docker’s unit writes it at each start'}`,
    cites: [
      cite(fact, { line: rule.line }),
      ...behind.slice(0, 2).map((r) => cite(fact, { line: r.line })),
      ...(writer === undefined || dockerUnit.missing ? [] : [cite(dockerUnit, writer)]),
    ],
    remediation,
    disprove: 'a node that is meant to forward everything, where nobody else can reach it',
  };
}

/** What the rule was for, most often: pods of other nodes behind a FORWARD that drops. */
function narrow(source: View['source'], iptables: string, names: readonly string[]): Remediation[] {
  const range = flannelLease(source)?.network?.prefix;
  if (range === undefined || !names.includes('DOCKER-USER')) return [];
  const rule = (action: string, side: string) =>
    `${iptables} ${action} DOCKER-USER ${side} ${formatPrefix(range)} -j ACCEPT`;
  return [
    {
      step: 'First let through what flannel carries, and no more.',
      run: `${rule('-I', '-s')}; ${rule('-I', '-d')}`,
      verify: `${rule('-C', '-s')} && ${rule('-C', '-d')} && echo accepted`,
      undo: `${rule('-D', '-s')}; ${rule('-D', '-d')}`,
      risk: `Accepts all traffic of ${formatPrefix(range)}.`,
    },
  ];
}
