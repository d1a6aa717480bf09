import type { AuditCause, AuditJson, AuditRule, AuditUnit } from './audit.ts';
import { isFault } from './audit.ts';
import { csv } from './csv.ts';
import { names, plural } from './names.ts';
import { citeText } from './path-text.ts';
import { SEVERITY_WORDS } from './sections.ts';
import { terminal } from './visible.ts';

/** Causes of a cluster. */
const MOST_CAUSES = 3;

/** A fleet for a person at a terminal: what is wrong where, then what is not known, then the rest in one line. */
export function auditText({ verdict, units, rules, problems }: AuditJson): string {
  const out = [terminal(verdict.sentence)];
  for (const unit of units.filter((u) => isFault(u.mark))) out.push('', ...unitLines(unit));
  const rest = units.filter((u) => !isFault(u.mark));
  const open = rest.filter((u) => u.undecided > 0 || u.decided === 0);
  if (open.length > 0) out.push('', 'No fault found, but not checked to the end:');
  for (const unit of open) {
    const asked = unit.decided + unit.undecided;
    out.push(`  ${unitName(unit)}: ${unit.undecided} of ${plural(asked, 'question')} not decided`);
  }
  const clean = rest.filter((u) => !open.includes(u));
  if (clean.length > 0) out.push('', `No fault found: ${clean.map(unitName).join('; ')}`);
  if (rules.length > 0) out.push('', 'By rule:', ...rules.map(ruleLine));
  for (const p of problems) out.push(`! ${terminal(p.source)}: ${terminal(p.message)}`);
  return `${out.join('\n')}\n`;
}

function unitLines(unit: AuditUnit): string[] {
  const { mark, causes, undecided, missingNodes } = unit;
  const out = [`${SEVERITY_WORDS[mark].toUpperCase()}: ${unitName(unit)}`];
  for (const cause of causes.slice(0, MOST_CAUSES)) out.push(...causeLines(cause));
  if (causes.length > MOST_CAUSES) out.push(`  and ${plural(causes.length - MOST_CAUSES, 'further probable cause')}`);
  if (undecided > 0) out.push(`  ${plural(undecided, 'question')} could not be decided`);
  if (missingNodes.length > 0) out.push(`  no bundle of ${terminal(names(missingNodes))}`);
  return out;
}

function causeLines({ severity, confidence, message, nodes, cites, rule }: AuditCause): string[] {
  const [first] = cites;
  const more = nodes.length > 1 ? `, on ${terminal(names(nodes))}` : '';
  const out = [`  ${severity}, ${confidence}: ${terminal(message)}`, `    ${terminal(rule)}${more}`];
  if (first !== undefined) out.push(`    ${terminal(first.node)} ${citeText(first)}`);
  return out;
}

export function unitName({ kind, name, nodes, podNetwork }: AuditUnit): string {
  if (kind === 'node') return terminal(name);
  const network = podNetwork === null ? '' : `, pods ${terminal(podNetwork)}`;
  return `cluster of ${terminal(names(nodes))} (${plural(nodes.length, 'node')}${network})`;
}

function ruleLine({ rule, severity, units, nodes, cause }: AuditRule): string {
  const where = `${plural(units, 'cluster or single node', 'clusters or single nodes')}, ${plural(nodes, 'node')}`;
  return `  ${severity.padEnd(8)}  ${terminal(rule)}: ${where}${cause ? '' : ' (an effect of others)'}`;
}

/** A row a cluster or single node; safe to open in a spreadsheet. */
export function auditCsv({ units }: AuditJson): string {
  const head = ['kind', 'name', 'nodes', 'pod network', 'result', 'critical', 'high', 'medium', 'low', 'info'];
  return csv(
    [...head, 'decided', 'not decided', 'nodes without a bundle', 'first cause', 'rule', 'sentence', 'members'],
    units.map((u) => [
      u.kind,
      u.name,
      u.nodes.length,
      u.podNetwork,
      u.mark,
      u.findings.critical,
      u.findings.high,
      u.findings.medium,
      u.findings.low,
      u.findings.info,
      u.decided,
      u.undecided,
      u.missingNodes.length,
      u.causes[0]?.message,
      u.causes[0]?.rule,
      u.verdict.sentence,
      u.nodes.join(' '),
    ]),
  );
}

/** OpenMetrics 1.0 text, for a monitoring system that watches a fleet's audits. */
export function auditMetrics({ units, tool }: AuditJson): string {
  const out = [
    '# TYPE netcase_audit info',
    `netcase_audit_info{version="${label(tool.version)}",ruleset="${label(tool.ruleset)}"} 1`,
  ];
  const gauge = (name: string, help: string, samples: (u: AuditUnit) => readonly (readonly [string, number])[]) => {
    out.push(`# TYPE ${name} gauge`, `# HELP ${name} ${help}`);
    for (const unit of units)
      for (const [extra, value] of samples(unit))
        out.push(`${name}{kind="${unit.kind}",name="${label(unit.name)}"${extra}} ${value}`);
  };
  gauge('netcase_nodes', 'Nodes with a bundle.', (u) => [['', u.nodes.length]]);
  gauge('netcase_findings', 'Findings that nobody accepted, by severity.', (u) =>
    Object.entries(u.findings).map(([severity, count]) => [`,severity="${severity}"`, count]),
  );
  gauge('netcase_questions', 'Pairs of rule and node, by whether they were decided.', (u) => [
    [',decided="yes"', u.decided],
    [',decided="no"', u.undecided],
  ]);
  gauge('netcase_missing_nodes', 'Peers that are named and have no bundle.', (u) => [['', u.missingNodes.length]]);
  return `${out.join('\n')}\n# EOF\n`;
}

const label = (text: string) => terminal(text).replaceAll('\\', '\\\\').replaceAll('"', '\\"');
