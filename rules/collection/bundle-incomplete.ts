import { isNonEmpty } from '../../src/core/span.ts';
import type { Cite, Finding } from '../../src/rule/index.ts';
import { citeRecord, defineCollectionRule, findings, notApplicable } from '../../src/rule/index.ts';

/** Statuses of items that were wanted and did not come whole. absent, and skipped by a guard, describe the node, not the collection. */
const BROKEN = new Set(['failed', 'timeout', 'truncated', 'denied', 'altered', 'unknown']);

/** A tool that is not installed leaves a gap only where nothing else shows the same: rulesets and addresses, or what an open question needs. */
const ESSENTIAL = /^(fw\.(nft|iptables|ip6tables|ipset)|ip\.)/;

export const rule = defineCollectionRule({
  id: 'bundle-incomplete',
  title: { bad: 'Evidence of this node is incomplete', good: 'The bundle is whole' },
  severity: 'medium',
  explanation:
    'Absence of evidence is not health. What was not collected whole cannot clear anything; the list names what to collect for each undecided rule.',
  remediation: [
    {
      step: 'Collect again as root on the host itself (not inside a container).',
      run: 'sudo sh netcase-collect.sh -o /tmp',
      verify: 'netcase coverage --case FILE   # the count of undecided rules falls',
      undo: 'none needed: the collector only reads',
    },
  ],
  references: ['https://github.com/flannel-io/flannel/blob/master/Documentation/troubleshooting.md'],
  evaluate(node, undecided) {
    const asked = new Set(undecided.flatMap((u) => u.evidence));
    const broken = node.evidence.filter(
      (r) =>
        BROKEN.has(r.status) ||
        (r.status === 'missing' && (ESSENTIAL.test(r.id) || asked.has(r.id))) ||
        (r.status === 'skipped' && /deadline/.test(r.reason ?? '')),
    );
    const found: Finding[] = [];
    const inContainer =
      node.context.netns !== null && node.context.pid1netns !== null && node.context.netns !== node.context.pid1netns;
    const blocked = undecided.filter((u) => u.severity === 'critical');
    const suffix =
      undecided.length > 0
        ? `; ${undecided.length === 1 ? '1 rule' : `${undecided.length} rules`} could not decide (${undecided.map((u) => u.rule).join(', ')})`
        : '';
    const cites: Cite[] = broken.slice(0, 20).map((r) => citeRecord(node.id, r));
    if (isNonEmpty(cites)) {
      const needed = new Set(blocked.flatMap((u) => u.evidence));
      const weighs = broken.some((r) => needed.has(r.id));
      found.push({
        key: 'items',
        severity: weighs ? 'medium' : 'info',
        confidence: 'proven',
        nodes: [node.id],
        message: `${node.id}: ${broken.length} of ${node.evidence.length} evidence items did not come whole (${names(broken.map((r) => `${r.id} ${r.status}`))})${suffix}`,
        cites,
      });
    }
    const [some] = node.evidence;
    if (!node.complete && some !== undefined) {
      found.push({
        key: 'partial',
        severity: 'medium',
        confidence: 'proven',
        nodes: [node.id],
        message: `${node.id}: the bundle itself is cut, altered or was interrupted: nothing that is absent from it proves anything${suffix}`,
        cites: [
          {
            kind: 'absent',
            node: node.id,
            evidence: 'bundle.sums',
            path: 'SHA256SUMS',
            absent: 'a complete manifest and its sums',
          },
        ],
      });
    }
    if (inContainer && some !== undefined) {
      found.push({
        key: 'context',
        severity: 'medium',
        confidence: 'proven',
        nodes: [node.id],
        message: `${node.id}: the collector ran in network namespace ${node.context.netns}, not in that of process 1 (${node.context.pid1netns}): this is a container's view`,
        cites: [
          {
            kind: 'absent',
            node: node.id,
            evidence: 'bundle.identity',
            path: 'bundle.json',
            absent: 'the host’s own network namespace',
          },
        ],
      });
    }
    const loose = node.format === 'loose-files';
    if (loose && undecided.length > 0 && some !== undefined && found.length === 0) {
      found.push({
        key: 'loose-files',
        severity: 'info',
        confidence: 'proven',
        nodes: [node.id],
        message: `${node.id}: only ${node.evidence.length === 1 ? '1 file was' : `${node.evidence.length} files were`} given, all else is not collected${suffix}`,
        cites: [citeRecord(node.id, some)],
      });
    }
    if (isNonEmpty(found)) return findings(found);
    const [record] = node.evidence;
    if (record === undefined) return notApplicable('the bundle holds no evidence at all');
    return { kind: 'pass', cites: [citeRecord(node.id, record)] };
  },
});

function names(list: readonly string[]): string {
  return list.length <= 6 ? list.join(', ') : `${list.slice(0, 6).join(', ')} and ${list.length - 6} more`;
}
