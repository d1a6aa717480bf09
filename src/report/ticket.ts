import type { Analysis, LogPlace } from './analysis.ts';
import { buildReportModel } from './build.ts';
import type { CauseModel, ReportModel } from './model.ts';
import { FULL } from './model.ts';
import { shortPath } from './path.ts';
import { codeBlock, templates } from './templates.ts';

const MOST_CHARACTERS = 4000;

/** Markdown for a ticket or chat box: verdict, causes with file:line, commands; at most 4,000 characters. */
export function renderMarkdown(analysis: Analysis, place: LogPlace): string {
  const model = buildReportModel(analysis, place, { ...FULL, context: 0 });
  let text = '';
  for (let causes = 3; causes >= 1; causes -= 1) {
    // a cause is worth more than the path and the further cites of another one
    for (const [paths, cites] of [
      [true, 3],
      [false, 3],
      [false, 1],
    ] as const) {
      text = render(model, causes, paths, cites);
      if (text.length <= MOST_CHARACTERS) return text;
    }
  }
  return `${text.slice(0, MOST_CHARACTERS - 40).trimEnd()}\n\n(cut; the rest is in the report)\n`;
}

function render(model: ReportModel, most: number, paths: boolean, cites: number): string {
  const causes = model.causes.slice(0, most);
  const firstTraced = paths ? causes.findIndex((c) => pathOf(model, c) !== null) : -1;
  const text = templates().render('ticket/ticket.njk', {
    m: model,
    causes: causes.map((c, i) => ({
      ...c,
      figures: c.figures.slice(0, cites).map(place),
      fix: fix(c),
      // one path tells where to look; the others are in the report
      path: i === firstTraced ? pathOf(model, c) : null,
    })),
    more: model.causes.length - causes.length + model.notes.filter((n) => n.severity !== 'info').length,
    unchecked: model.unchecked
      .slice(0, 3)
      .map((u) => u.rule)
      .join(', '),
  });
  return `${text.replace(/\n{3,}/g, '\n\n').trim()}\n`;
}

function place(f: CauseModel['figures'][number]): { node: string; place: string; text: string; absent: string } {
  const cited = f.context.find((c) => c.cited);
  return {
    node: f.node,
    place: f.lines === '' ? f.path : `${f.path}:${f.lines}`,
    text: cited?.text.trim().slice(0, 160) ?? '',
    absent: f.absent,
  };
}

/** The path of the cause itself, or of a symptom that it explains. */
function pathOf(model: ReportModel, cause: CauseModel) {
  const anchors = [cause.anchor, ...cause.symptoms.map((s) => s.anchor)];
  const path = model.paths.find((p) => anchors.includes(p.finding));
  if (path === undefined) return null;
  const hops = shortPath(path).map((h) => ({ ...h, text: h.text.slice(0, 100) }));
  return { packet: path.packet, verdict: path.verdict, half: path.half, hops, all: path.hops.length };
}

function fix(c: CauseModel): { step: string; run: string; block: string } | null {
  const [first] = c.remediation;
  if (first === undefined) return null;
  return {
    step: first.step,
    run: first.run ?? '',
    block: codeBlock(
      [
        first.run ?? '',
        first.verify === undefined ? '' : `# verify: ${first.verify}`,
        first.undo === undefined ? '' : `# undo: ${first.undo}`,
      ]
        .filter((l) => l !== '')
        .join('\n'),
    ),
  };
}
