import { visible } from './visible.ts';

/** RFC 4180, every field quoted; a field that a spreadsheet would run as a formula gets an apostrophe (OWASP ASVS 1.2.10). */
export function csv(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cell = (value: unknown) => {
    const text = visible(value === null || value === undefined ? '' : String(value));
    return `"${(/^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  return `${[head, ...rows].map((row) => row.map(cell).join(',')).join('\r\n')}\r\n`;
}
