import { citeText } from './path-text.ts';
import { terminal } from './visible.ts';

/** What a rule's answer is made of, as far as the text shows it. */
export interface WhyShown {
  readonly answer: string;
  readonly title: string;
  readonly because: string;
  readonly cites: readonly unknown[];
  readonly findings: readonly {
    readonly severity: string;
    readonly confidence: string;
    readonly message: string;
    readonly cites: readonly unknown[];
    readonly disprove?: string;
  }[];
  readonly reads: readonly {
    readonly fact: string;
    readonly how: string;
    readonly paths: readonly string[];
    readonly because: string;
    readonly collect: readonly string[];
  }[];
}

type ShownCite = Parameters<typeof citeText>[0] & {
  readonly node: string;
  readonly excerpt?: { readonly text: string };
};

const WORDS: Readonly<Record<string, string>> = {
  findings: 'FOUND',
  pass: 'pass',
  'not-applicable': 'does not apply',
  unknown: 'NOT DECIDED',
  missing: 'NOT DECIDED: what it needs is not in the evidence',
  error: 'FAILED',
};

/** The answer first, then its proof, then every fact that was asked for and where it came from. */
export function whyText(rule: string, node: string, why: WhyShown): string {
  const word = WORDS[why.answer] ?? terminal(why.answer);
  const out = [`${terminal(rule)} on ${terminal(node)}: ${word}`];
  if (why.title !== '')
    out.push(`  ${/^(pass|findings)$/.test(why.answer) ? '' : 'it looks for: '}${terminal(why.title)}`);
  if (why.because !== '') out.push(`  because ${terminal(why.because)}`);
  for (const f of why.findings) {
    out.push('', `  ${f.severity}, ${f.confidence}: ${terminal(f.message)}`, ...proof(f.cites));
    if (f.disprove !== undefined) out.push(`    what would disprove it: ${terminal(f.disprove)}`);
  }
  if (why.cites.length > 0) out.push('', '  proof:', ...proof(why.cites));
  if (why.reads.length > 0) out.push('', ...readLines(why.reads));
  return `${out.join('\n')}\n`;
}

function proof(cites: readonly unknown[]): string[] {
  return (cites as readonly ShownCite[]).map((cite) => {
    const text = (cite.excerpt?.text ?? '').split('\n')[0] ?? '';
    return `    ${terminal(cite.node)} ${citeText(cite)}${text === '' ? '' : `  ${terminal(text.trim())}`}`;
  });
}

function readLines(reads: WhyShown['reads']): string[] {
  const width = Math.max(...reads.map((r) => r.fact.length));
  const out = ['  it read:'];
  for (const r of reads) {
    const shown = r.paths.slice(0, 2).map(terminal).join(', ');
    const more = r.paths.length > 2 ? ` and ${r.paths.length - 2} more` : '';
    const lack = r.because === '' ? '' : `${shown === '' ? '-' : ' -'} ${terminal(r.because)}`;
    out.push(`    ${r.how.padEnd(6)}  ${r.fact.padEnd(width)}  ${shown}${more}${lack}`.trimEnd());
    for (const command of r.collect) out.push(`            collect: ${terminal(command)}`);
  }
  return out;
}
