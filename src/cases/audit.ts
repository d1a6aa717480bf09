import { type AuditJson, auditOf } from '../report/audit.ts';
import type { Analysis } from '../report/index.ts';
import type { AnalyzeRequest } from './analyze.ts';
import { AUDIT_SUFFIX, type AuditFormat } from './audit-formats.ts';
import { ingestInto } from './ingest.ts';
import { judgeCase } from './judge.ts';
import { openForWriting } from './open.ts';
import { unitsOf } from './units.ts';
import { checkOutput, type Wanted, type Written, writeReports } from './written.ts';

export type AuditRequest = Omit<AnalyzeRequest, 'formats'> & Wanted<AuditFormat>;

export interface AuditDone extends Written {
  readonly refused: readonly { readonly source: string; readonly sentence: string }[];
  readonly audit: AuditJson;
}

/** A fleet: ingest what is new from folders of any depth, judge the whole case, and roll it up by cluster. */
export async function audit(request: AuditRequest): Promise<AuditDone> {
  checkOutput(request);
  const store = openForWriting(request.caseFile, request.inputs.length > 0);
  try {
    const { refused } = await ingestInto(store, { ...request, deep: true }, true);
    const { analysis, place } = await judgeCase(store, request.rules);
    const rolled = auditOf(analysis, place, unitsOf(store), request.rules);
    const output = await writeReports(
      store,
      request,
      AUDIT_SUFFIX,
      place.position,
      (format) => render(format, rolled, analysis),
      (format) => `audit ${format}`,
    );
    return { ...output, refused, audit: rolled };
  } finally {
    store.close();
  }
}

async function render(format: AuditFormat, rolled: AuditJson, analysis: Analysis): Promise<string> {
  if (format === 'json') return `${JSON.stringify(rolled, null, 2)}\n`;
  if (format === 'html') return (await import('../report/audit-html.ts')).auditHtml(rolled, analysis);
  const { auditCsv, auditMetrics, auditText } = await import('../report/audit-text.ts');
  return { csv: auditCsv, metrics: auditMetrics, text: auditText }[format](rolled);
}
