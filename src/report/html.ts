import type { Analysis, LogPlace } from './analysis.ts';
import { buildReportModel } from './model.ts';
import { asset, contentSecurityPolicy, templates } from './templates.ts';

/** Bytes that every tracker and mail gateway takes (report.md): over it, context lines are given up first. */
export const MAX_REPORT_BYTES = 5_000_000;

/** One file, no request, readable without JavaScript. Same analysis and log place, same bytes. */
export function renderHtml(analysis: Analysis, place: LogPlace, maxBytes = MAX_REPORT_BYTES): string {
  const css = asset('css');
  const js = asset('js');
  const csp = contentSecurityPolicy(css, js);
  let html = '';
  for (const context of [3, 1, 0]) {
    html = templates().render('incident/incident.njk', { m: buildReportModel(analysis, place, context), css, js, csp });
    if (Buffer.byteLength(html) <= maxBytes) break;
  }
  return html;
}
