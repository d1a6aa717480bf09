import type { AnalysisFinding, Judgement } from './analysis.ts';

/** What one analyzer made of one set of bundles. */
export interface Corner extends Pick<Judgement, 'findings' | 'matrix' | 'unknown'> {
  /** Every node that had a bundle. */
  readonly nodes: readonly string[];
}

/** What was judged: `recorded`, old evidence by the analyzer of then (null: nobody did); `replayed`, old evidence by this one; `now`. */
export interface Corners {
  readonly recorded: Pick<Judgement, 'findings'> | null;
  readonly replayed: Corner;
  readonly now: Corner;
}

/** What made a difference: other evidence, or another analyzer over the same evidence. */
export type DiffBy = 'evidence' | 'analyzer' | 'both';

export interface FindingDiff {
  readonly finding: AnalysisFinding;
  readonly by: DiffBy;
  readonly because: string;
}

export interface FindingChange {
  /** As it is now. */
  readonly finding: AnalysisFinding;
  readonly by: DiffBy;
  readonly changes: readonly { readonly what: Compared; readonly from: string; readonly to: string }[];
}

export interface Unproven extends FindingDiff {
  /** Items that would settle it. */
  readonly evidence: readonly string[];
}

/** Answers that were given before and cannot be given now. */
export interface Undecided {
  readonly rule: string;
  readonly nodes: readonly string[];
  readonly because: string;
  readonly evidence: readonly string[];
}

export interface JudgementDiff {
  readonly appeared: readonly FindingDiff[];
  /** Nothing is called gone whose question is open now. */
  readonly gone: readonly FindingDiff[];
  readonly changed: readonly FindingChange[];
  /** Findings of before that the evidence of now neither shows nor refutes. */
  readonly unproven: readonly Unproven[];
  readonly undecided: readonly Undecided[];
  /** Findings that are as they were. */
  readonly same: number;
}

type Compared = 'severity' | 'confidence' | 'nodes' | 'message';
const COMPARED: readonly Compared[] = ['severity', 'confidence', 'nodes', 'message'];

/**
 * What two judgements differ in, and by what. A finding that today's rules no longer make of the old evidence went by the analyzer; one that only
 * the new evidence does not show went by the evidence, and only where its rule has an answer for all of its nodes now.
 */
export function diffJudgements({ recorded, replayed, now }: Corners): JudgementDiff {
  const then = byId(recorded?.findings ?? replayed.findings);
  const again = byId(replayed.findings);
  const present = byId(now.findings);
  const appeared: FindingDiff[] = [];
  const gone: FindingDiff[] = [];
  const changed: FindingChange[] = [];
  const unproven: Unproven[] = [];
  let same = 0;

  for (const finding of now.findings) {
    const before = then.get(finding.id);
    const replay = again.get(finding.id);
    if (before !== undefined) {
      const changes = differences(before, finding);
      if (changes.length === 0) same += 1;
      else changed.push({ finding, by: changedBy(before, replay, finding), changes });
    } else if (replay !== undefined) {
      const because = 'today’s rules find it in the evidence of then too; the analysis of then did not';
      appeared.push({ finding, by: 'analyzer', because });
    } else appeared.push({ finding, by: 'evidence', because: whyNew(finding, replayed) });
  }

  for (const finding of new Map([...again, ...then]).values()) {
    if (present.has(finding.id)) continue;
    const by: DiffBy = again.has(finding.id) ? 'evidence' : 'analyzer';
    const open = openQuestion(finding, by === 'evidence' ? now : replayed) ?? openQuestion(finding, now);
    if (open !== null) unproven.push({ finding, by, ...open });
    else if (by === 'evidence') gone.push({ finding, by, because: whyGone(finding, now) });
    else gone.push({ finding, by, because: 'today’s rules do not find it in the evidence of then' });
  }
  const moved = pairMoved(appeared, gone);
  return {
    appeared: moved.appeared,
    gone: moved.gone,
    changed: [...changed, ...moved.changed],
    unproven,
    undecided: undecidedNow(replayed, now, unproven),
    same: same + moved.same,
  };
}

const byId = (findings: readonly AnalysisFinding[]) => new Map(findings.map((f) => [f.id, f]));

function differences(before: AnalysisFinding, after: AnalysisFinding): FindingChange['changes'] {
  return COMPARED.flatMap((what) => {
    const [from, to] = [before, after].map((f) => (what === 'nodes' ? [...f.nodes].sort().join(', ') : f[what])) as [
      string,
      string,
    ];
    return from === to ? [] : [{ what, from, to }];
  });
}

function changedBy(before: AnalysisFinding, replay: AnalysisFinding | undefined, after: AnalysisFinding): DiffBy {
  // today's rules do not find it in the old evidence, and find it now: neither alone explains the change
  if (replay === undefined) return 'both';
  if (differences(before, replay).length === 0) return 'evidence';
  return differences(replay, after).length === 0 ? 'analyzer' : 'both';
}

/** The same fault on other nodes of a set that it shares with the one before is one change, not two events. */
function pairMoved(
  appeared: readonly FindingDiff[],
  gone: readonly FindingDiff[],
): Pick<JudgementDiff, 'appeared' | 'gone' | 'changed' | 'same'> {
  const left = new Set(gone.filter((g) => g.by === 'evidence'));
  const moved: FindingChange[] = [];
  const fresh = appeared.filter(({ finding, by }) => {
    const old = by === 'evidence' ? [...left].find((g) => isSameFault(g.finding, finding)) : undefined;
    if (old === undefined) return true;
    left.delete(old);
    moved.push({ finding, by, changes: differences(old.finding, finding) });
    return false;
  });
  return {
    appeared: fresh,
    gone: gone.filter((g) => g.by !== 'evidence' || left.has(g)),
    changed: moved.filter((m) => m.changes.length > 0),
    same: moved.filter((m) => m.changes.length === 0).length,
  };
}

const isSameFault = (a: AnalysisFinding, b: AnalysisFinding) =>
  a.rule === b.rule && a.group === b.group && a.nodes.some((n) => b.nodes.includes(n));

/** Why a corner has no answer to a finding's question; null when it has one for every node of it. */
function openQuestion(
  { rule, nodes }: AnalysisFinding,
  { nodes: there, matrix, unknown }: Corner,
): { readonly because: string; readonly evidence: readonly string[] } | null {
  if (matrix[rule] === undefined) return null;
  const absent = nodes.filter((n) => !there.includes(n));
  const open = unknown.filter((u) => u.rule === rule && u.nodes.some((n) => nodes.includes(n)));
  if (absent.length === 0 && open.length === 0) return null;
  const reasons = new Set(open.map((u) => u.because));
  if (absent.length > 0) reasons.add(`there is no bundle of ${absent.join(', ')}`);
  return { because: [...reasons].join('; '), evidence: [...new Set(open.flatMap((u) => u.evidence))] };
}

function whyNew(finding: AnalysisFinding, then: Corner): string {
  const fresh = finding.nodes.filter((n) => !then.nodes.includes(n));
  if (fresh.length > 0) return `the first bundle of ${fresh.join(', ')}: it may have been so before`;
  const open = openQuestion(finding, then);
  if (open !== null) return `it could not be decided before (${open.because}): it may have been so then`;
  return `before, ${answers(finding, then, 0)}`;
}

const whyGone = (finding: AnalysisFinding, now: Corner) => `now, ${answers(finding, now, 1)}`;

/** In the words of then and of now. */
const ANSWERS = {
  pass: ['passed on', 'passes on'],
  'not-applicable': ['did not apply on', 'does not apply on'],
  findings: ['found something else on', 'finds something else on'],
} as const;

function answers({ rule, nodes }: AnalysisFinding, { matrix }: Corner, tense: 0 | 1): string {
  const row = matrix[rule] ?? {};
  const said = Object.entries(ANSWERS).flatMap(([kind, words]) => {
    const on = nodes.filter((n) => row[n] === kind);
    return on.length === 0 ? [] : [`${words[tense]} ${on.join(', ')}`];
  });
  return said.length === 0 ? 'the rule was not asked' : `the rule ${said.join(', ')}`;
}

const DECIDED: ReadonlySet<string | undefined> = new Set(['pass', 'findings']);

/** A node whose finding is called unproven is said there. */
function undecidedNow(then: Corner, now: Corner, unproven: readonly Unproven[]): Undecided[] {
  const said = new Set(unproven.flatMap(({ finding }) => finding.nodes.map((n) => `${finding.rule} ${n}`)));
  return now.unknown.flatMap(({ rule, nodes, because, evidence }) => {
    const lost = nodes.filter(
      (n) => DECIDED.has(then.matrix[rule]?.[n]) && !DECIDED.has(now.matrix[rule]?.[n]) && !said.has(`${rule} ${n}`),
    );
    return lost.length === 0 ? [] : [{ rule, nodes: lost, because, evidence }];
  });
}
