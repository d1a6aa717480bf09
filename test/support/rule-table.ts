import { describe, expect, it } from 'vitest';
import type { EvidenceRecord, EvidenceStatus } from '../../src/core/evidence.ts';
import { evidenceAt, evidenceKind } from '../../src/core/evidence.ts';
import type { AnalysisFinding, Judgement, NodeEvidence, NodeResult } from '../../src/engine/index.ts';
import { judgeCluster, judgeNode, NodeFacts } from '../../src/engine/index.ts';
import type { FactKind } from '../../src/facts/index.ts';
import { FACT_SOURCES } from '../../src/facts/index.ts';
import type { AnyRule, NodeInfo } from '../../src/rule/index.ts';

/** Evidence of one node: bundle path -> text, or a record without a file: `{ status: 'absent' }`. */
export type Files = Readonly<
  Record<string, string | { readonly status: EvidenceStatus; readonly reason?: string; readonly text?: string }>
>;

export interface NodeFiles {
  readonly files: Files;
  readonly info?: Partial<NodeInfo>;
}

export function nodeEvidence(id: string, { files, info }: NodeFiles): NodeEvidence {
  const evidence: EvidenceRecord[] = Object.entries(files).map(([path, content]) => {
    const at = evidenceAt(path);
    if (at === undefined) throw new Error(`${path} is no evidence path`);
    const record =
      typeof content === 'string'
        ? { status: 'ok' as const }
        : { status: content.status, ...(content.reason === undefined ? {} : { reason: content.reason }) };
    return { id: at.kind.id, path, ...(at.instance === undefined ? {} : { instance: at.instance }), ...record };
  });
  return {
    info: {
      id,
      hostname: id,
      bootId: `boot-${id}`,
      machineIdSha256: `machine-${id}`,
      collectedAt: '2026-11-24T10:00:00.000Z',
      format: 'netcase-bundle/1',
      complete: true,
      context: { uid: 0, netns: null, pid1netns: null, mode: 'host' },
      evidence,
      ...info,
    },
    textAt(path) {
      const content = files[path];
      return content === undefined ? null : typeof content === 'string' ? content : (content.text ?? null);
    },
  };
}

/** Judges nodes as the product does: through the real parsers, engine and cluster step. */
export function judge(rules: readonly AnyRule[], nodes: Readonly<Record<string, NodeFiles>>): Judgement {
  return judgeEvidence(rules, new Map(Object.entries(nodes).map(([id, n]) => [id, nodeEvidence(id, n)])));
}

export function judgeEvidence(rules: readonly AnyRule[], evidence: ReadonlyMap<string, NodeEvidence>): Judgement {
  const results = new Map<string, NodeResult>();
  // digests and results travel as JSON between threads and through the case file: do the same here
  for (const [id, e] of evidence) results.set(id, JSON.parse(JSON.stringify(judgeNode(e, rules))) as NodeResult);
  return judgeCluster(
    {
      nodes: [...evidence.values()].map((e) => e.info),
      read: (id) => results.get(id) as NodeResult,
      digest: (id, rule) => results.get(id)?.digests[rule],
      textOf: (id, path) => evidence.get(id)?.textAt(path) ?? null,
      open: {
        ids: [...evidence.keys()],
        source: (id) => (evidence.has(id) ? new NodeFacts(evidence.get(id) as NodeEvidence) : undefined),
        owners: () => undefined,
      },
    },
    rules,
  );
}

export interface Expected {
  readonly key?: string;
  readonly severity?: AnalysisFinding['severity'];
  readonly confidence?: AnalysisFinding['confidence'];
  readonly nodes?: readonly string[];
  readonly message?: RegExp;
  /** Text of each cited line, in order: substrings; an absence is `absent: <what>`. */
  readonly cites: readonly string[];
}

export interface Case {
  readonly nodes: Readonly<Record<string, NodeFiles>>;
  /** What all nodes but those with a finding must have answered; by default not asserted for `finds`. */
  readonly answers?: Readonly<Record<string, string>>;
}

export interface RuleTable {
  readonly finds: Readonly<Record<string, Case & { readonly expect: readonly Expected[] }>>;
  readonly passes: Readonly<Record<string, Case>>;
  readonly notApplicable?: Readonly<Record<string, Case>>;
  readonly unknown?: Readonly<Record<string, Case & { readonly because?: RegExp }>>;
}

/** One table a rule. Besides the cases: each need taken away gives *missing*, never pass; every cite has the text it claims. */
export function testRule(rule: AnyRule, table: RuleTable): void {
  describe(rule.id, () => {
    for (const [name, c] of Object.entries(table.finds)) {
      it(`finds: ${name}`, () => {
        const result = judge([rule], c.nodes);
        expect(result.unknown.filter((u) => u.kind === 'error')).toEqual([]);
        expect(result.findings.map((f) => f.message)).toHaveLength(c.expect.length);
        for (const [i, e] of c.expect.entries()) matches(result.findings[i] as AnalysisFinding, e);
        for (const [node, answer] of Object.entries(c.answers ?? {}))
          expect(`${node} ${result.matrix[rule.id]?.[node]}`).toBe(`${node} ${answer}`);
      });
    }
    for (const [kind, cases] of [
      ['pass', table.passes],
      ['not-applicable', table.notApplicable],
      ['unknown', table.unknown],
    ] as const) {
      for (const [name, c] of Object.entries(cases ?? {})) {
        it(`${kind}: ${name}`, () => {
          const result = judge([rule], c.nodes);
          expect(result.findings.filter((f) => f.severity !== 'info').map((f) => f.message)).toEqual([]);
          for (const node of Object.keys(c.nodes)) {
            const why = result.unknown.map((u) => u.because).join('; ');
            expect(`${node} ${result.matrix[rule.id]?.[node]}${why === '' ? '' : ` (${why})`}`).toContain(
              `${node} ${c.answers?.[node] ?? kind}`,
            );
          }
          if (kind === 'unknown' && 'because' in c && c.because instanceof RegExp)
            expect(result.unknown.map((u) => u.because).join('; ')).toMatch(c.because);
        });
      }
    }
    if (rule.scope !== 'collection') {
      for (const need of rule.needs as readonly FactKind[]) {
        it(`without ${need}: missing, never pass`, () => {
          const cases = { ...table.finds, ...table.passes };
          for (const c of Object.values(cases)) {
            const result = judge([rule], without(c.nodes, need));
            for (const node of Object.keys(c.nodes))
              expect(`${node} ${result.matrix[rule.id]?.[node]}`).toBe(`${node} missing`);
          }
        });
      }
    }
  });
}

function without(nodes: Case['nodes'], kind: FactKind): Case['nodes'] {
  const paths = new Set(FACT_SOURCES[kind].map((id) => evidenceKind(id)?.path));
  return Object.fromEntries(
    Object.entries(nodes).map(([id, n]) => [
      id,
      { ...n, files: Object.fromEntries(Object.entries(n.files).filter(([path]) => !paths.has(path))) },
    ]),
  );
}

function matches(found: AnalysisFinding, e: Expected): void {
  if (e.key !== undefined) expect(found.group).toBe(e.key);
  if (e.severity !== undefined) expect(found.severity).toBe(e.severity);
  if (e.confidence !== undefined) expect(found.confidence).toBe(e.confidence);
  if (e.nodes !== undefined) expect(found.nodes).toEqual(e.nodes);
  if (e.message !== undefined) expect(found.message).toMatch(e.message);
  const shown = found.cites.map((c) =>
    c.kind === 'absent' ? `absent: ${c.absent}` : (c.excerpt?.text ?? '(no text)'),
  );
  expect(shown).toHaveLength(e.cites.length);
  for (const [i, text] of e.cites.entries()) expect(shown[i]).toContain(text);
}
