/** Of `netcase audit`, with their file suffixes. */
export const AUDIT_SUFFIX = { html: 'html', json: 'json', csv: 'csv', metrics: 'prom', text: 'txt' } as const;
export type AuditFormat = keyof typeof AUDIT_SUFFIX;
export const AUDIT_FORMATS = Object.keys(AUDIT_SUFFIX) as AuditFormat[];
