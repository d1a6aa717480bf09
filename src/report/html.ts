import { createHash } from 'node:crypto';
import type { Analysis, LogPlace } from './analysis.ts';
import { buildReportModel } from './build.ts';
import { renderJson } from './json.ts';
import type { Detail } from './model.ts';
import { FULL } from './model.ts';
import { asset, contentSecurityPolicy, templates } from './templates.ts';

/** Bytes that every tracker and mail gateway takes. */
export const MAX_REPORT_BYTES = 5_000_000;

/** What is given up, in this order, until the report fits: context lines first, then figures, then the least grave findings. */
const STEPS: readonly Detail[] = [
  FULL,
  { ...FULL, context: 1 },
  { ...FULL, context: 0 },
  { context: 0, figures: 2, findings: 1000 },
  { context: 0, figures: 1, findings: 300 },
  { context: 0, figures: 1, findings: 50 },
];

/** One file, no request, readable without JavaScript. Same analysis and log place, same bytes. */
export function renderHtml(analysis: Analysis, place: LogPlace, maxBytes = MAX_REPORT_BYTES): string {
  const css = asset('css');
  const js = asset('js');
  const csp = contentSecurityPolicy(css, js);
  let html = '';
  let json = '';
  for (const detail of STEPS) {
    const m = buildReportModel(analysis, place, detail);
    if (m.leftOut.length > 0 && json === '')
      json = createHash('sha256').update(renderJson(analysis, place)).digest('hex');
    html = templates().render('incident/incident.njk', { m, css, js, csp, json });
    if (Buffer.byteLength(html) <= maxBytes) break;
  }
  return html;
}
