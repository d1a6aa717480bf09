import type { Doubt, Reason } from './doubt.ts';
import type { End, Verdict } from './way.ts';

/** One whole way of a probe: the request and, when it arrived, its answer. */
export interface Outcome {
  readonly request: End;
  /** null: the request did not arrive. */
  readonly reply: End | null;
  readonly probability: number;
  readonly doubts: readonly Doubt[];
}

export interface Shared {
  readonly outcome: Outcome;
  /** null: the shares are not known. */
  readonly probability: number | null;
}

/** What all ways together say. */
export interface Answer {
  /** Of the request. */
  readonly verdict: Verdict;
  /** null: it is not known where and how it arrives. */
  readonly arrived: boolean;
  readonly replyVerdict: Verdict | null;
  /** The way to show. */
  readonly shown: Outcome;
  /** More than one: the rules balance. */
  readonly branches: readonly Shared[];
  /** What the verdict (or the answer's) would need. */
  readonly reasons: readonly Reason[];
}

const MAX_KEYS = 9;

/** How a way ends, as far as anybody outside could see. */
function signature(o: Outcome): string {
  const { packet, space, verdict } = o.request;
  const at =
    verdict === 'delivered' ? ` ${space?.id ?? 'outside'} ${packet.src} ${packet.dst} ${String(packet.dport)}` : '';
  return `${verdict}${at}|${o.reply?.verdict ?? '-'}`;
}

/** The ways of one side of every doubt that the evidence leaves open. */
interface World {
  /** Signature -> share. */
  readonly shares: ReadonlyMap<string, number>;
}

/**
 * Puts the ways together. They are decided when every answer to every open question leads to the same ends; where only chance parts them
 * they are branches; else the verdict is unknown, because of the questions that matter.
 */
export function judge(outcomes: readonly Outcome[]): Answer {
  const signatures = outcomes.map(signature);
  const different = new Set(signatures);
  const shown = best(outcomes);
  if (different.size === 1) return settled(shown, [{ outcome: shown, probability: 1 }]);
  const keys = [...new Set(outcomes.flatMap((o) => o.doubts.map((d) => d.key)))];
  if (keys.length > MAX_KEYS) return undecided(outcomes, shown, reasonsOf(outcomes, new Set(keys)));
  const worlds = Array.from({ length: 2 ** keys.length }, (_, bits) => world(outcomes, signatures, keys, bits)).map(
    (w) => w,
  );
  const real = worlds.filter((w): w is World => w !== null);
  const sets = new Set(real.map((w) => [...w.shares.keys()].sort().join('\n')));
  if (sets.size <= 1) return settled(shown, branchesOf(outcomes, signatures, real));
  const relevant = new Set<string>();
  keys.forEach((key, i) => {
    worlds.forEach((w, bits) => {
      const other = worlds[bits ^ (1 << i)];
      if (w === null || other === null || other === undefined) return;
      if ([...w.shares.keys()].sort().join('\n') !== [...other.shares.keys()].sort().join('\n')) relevant.add(key);
    });
  });
  return undecided(outcomes, shown, reasonsOf(outcomes, relevant.size === 0 ? new Set(keys) : relevant));
}

/** null: no way fits these answers (questions that exclude each other). */
function world(
  outcomes: readonly Outcome[],
  signatures: readonly string[],
  keys: readonly string[],
  bits: number,
): World | null {
  const shares = new Map<string, number>();
  outcomes.forEach((o, i) => {
    if (!o.doubts.every((d) => d.holds === ((bits >> keys.indexOf(d.key)) & 1) > 0)) return;
    const s = signatures[i] as string;
    shares.set(s, (shares.get(s) ?? 0) + o.probability);
  });
  return shares.size === 0 ? null : { shares };
}

function branchesOf(
  outcomes: readonly Outcome[],
  signatures: readonly string[],
  worlds: readonly World[],
): readonly Shared[] {
  const [first] = worlds;
  return [...new Set(signatures)].map((s) => {
    const fitting = outcomes.filter((_, i) => signatures[i] === s);
    const share = first?.shares.get(s) ?? null;
    const same = worlds.every((w) => Math.abs((w.shares.get(s) ?? 0) - (share ?? 0)) < 1e-6);
    const uneven = fitting.some((o) => o.request.way.uneven);
    return { outcome: best(fitting), probability: same && !uneven ? share : null };
  });
}

const ORDER: readonly Verdict[] = ['unknown', 'dropped', 'rejected', 'delivered'];
const worst = (verdicts: readonly Verdict[]): Verdict => ORDER.find((v) => verdicts.includes(v)) ?? 'unknown';

function settled(shown: Outcome, branches: readonly Shared[]): Answer {
  const verdict = worst(branches.map((b) => b.outcome.request.verdict));
  const first = branches.find((b) => b.outcome.request.verdict === verdict)?.outcome ?? shown;
  const replies = branches.flatMap((b) => (b.outcome.reply === null ? [] : [b.outcome.reply.verdict]));
  const reasons = [first.request.reason, first.reply?.reason].filter((r) => r !== undefined);
  return {
    verdict,
    arrived: true,
    replyVerdict: replies.length === 0 ? null : worst(replies),
    shown: first,
    branches: branches.length > 1 ? branches : [],
    reasons,
  };
}

function undecided(outcomes: readonly Outcome[], shown: Outcome, reasons: readonly Reason[]): Answer {
  const requests = new Set(outcomes.map((o) => o.request.verdict));
  const gone = [...requests].every((v) => v === 'dropped' || v === 'rejected');
  // dropped here or refused there: it does not arrive either way
  if (gone) return { verdict: shown.request.verdict, arrived: false, replyVerdict: null, shown, branches: [], reasons };
  if (requests.size > 1)
    return { verdict: 'unknown', arrived: false, replyVerdict: null, shown, branches: [], reasons };
  const [verdict = 'unknown'] = requests;
  const ends = new Set(outcomes.map((o) => signature(o).split('|')[0]));
  const replies = new Set(outcomes.flatMap((o) => (o.reply === null ? [] : [o.reply.verdict])));
  const lostReply = replies.size > 0 && [...replies].every((v) => v === 'dropped' || v === 'rejected');
  const replyVerdict =
    replies.size === 0 ? null : replies.size === 1 || lostReply ? ([...replies][0] as Verdict) : 'unknown';
  return { verdict, arrived: ends.size === 1, replyVerdict, shown, branches: [], reasons };
}

/** The surest and likeliest way, a bad end before a good one: that is what somebody has to see. */
function best(outcomes: readonly Outcome[]): Outcome {
  const rank = (o: Outcome) => ORDER.indexOf(o.request.verdict);
  // one that ends where something may or may not end it shows nothing: the others end for sure
  const guessed = ({ doubts, request, reply }: Outcome) =>
    Number(doubts.some((d) => d.holds && d.because === (reply ?? request).because));
  return [...outcomes].sort(
    (a, b) =>
      guessed(a) - guessed(b) ||
      a.doubts.length - b.doubts.length ||
      b.probability - a.probability ||
      rank(a) - rank(b),
  )[0] as Outcome;
}

function reasonsOf(outcomes: readonly Outcome[], keys: ReadonlySet<string>): readonly Reason[] {
  const found = new Map<string, Reason>();
  for (const o of outcomes) {
    for (const { key, holds, ...reason } of o.doubts) if (keys.has(key)) found.set(key, reason);
    for (const { reason } of [o.request, ...(o.reply === null ? [] : [o.reply])])
      if (reason !== undefined) found.set(`${reason.node} ${reason.because}`, reason);
  }
  return [...found.values()];
}
