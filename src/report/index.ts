import type { Analysis, LogPlace } from './analysis.ts';

export type * from './analysis.ts';

export const FORMATS = ['html', 'md', 'json', 'sarif', 'junit', 'text'] as const;
export type Format = (typeof FORMATS)[number];

/** File suffix of a format, as in `incident.html`. */
export const SUFFIX: Record<Format, string> = {
  html: 'html',
  md: 'md',
  json: 'json',
  sarif: 'sarif',
  junit: 'junit.xml',
  text: 'txt',
};

/** Renders an analysis. Renderers are imported when asked for: templates cost start-up time that JSON does not need. */
export async function render(format: Format, analysis: Analysis, place: LogPlace): Promise<string> {
  switch (format) {
    case 'html':
      return (await import('./html.ts')).renderHtml(analysis, place);
    case 'md':
      return (await import('./ticket.ts')).renderMarkdown(analysis, place);
    case 'json':
      return (await import('./json.ts')).renderJson(analysis, place);
    case 'sarif':
      return (await import('./interchange.ts')).renderSarif(analysis, place);
    case 'junit':
      return (await import('./interchange.ts')).renderJunit(analysis);
    case 'text':
      return (await import('./text.ts')).renderText(analysis, place);
  }
}
