import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import nunjucks from 'nunjucks';

/** Templates compiled by the build (name -> nunjucks' own code object); a checkout without a build compiles them from reports/. */
type Compiled = Readonly<Record<string, unknown>>;

declare const NETCASE_TEMPLATES: { readonly compiled: Compiled; readonly css: string; readonly js: string } | undefined;

/** reports/ beside src/ in a checkout, and beside dist/ in the package. */
const reports = join(import.meta.dirname, basename(import.meta.dirname) === 'report' ? '../../reports' : '../reports');

class CompiledLoader extends nunjucks.Loader {
  private readonly compiled: Compiled;
  constructor(compiled: Compiled) {
    super();
    this.compiled = compiled;
  }
  getSource(name: string): nunjucks.LoaderSource {
    const obj = this.compiled[name];
    if (obj === undefined) throw new Error(`no template ${name} in this build`);
    // nunjucks takes code objects here; its types only know text
    return { src: { type: 'code', obj } as unknown as string, path: name, noCache: false };
  }
}

let environment: nunjucks.Environment | undefined;

/** Autoescape on, undefined throws: a typo in a template is an error, never an empty place in a report. */
export function templates(): nunjucks.Environment {
  if (environment !== undefined) return environment;
  const loader =
    typeof NETCASE_TEMPLATES === 'undefined'
      ? new nunjucks.FileSystemLoader(reports)
      : new CompiledLoader(NETCASE_TEMPLATES.compiled);
  environment = new nunjucks.Environment(loader, { autoescape: true, throwOnUndefined: true });
  environment.addFilter('short', (text: string) => text.slice(0, 12));
  environment.addFilter('slice20', (list: readonly unknown[]) => list.slice(0, 20));
  environment.addFilter('md', (text: unknown) => new nunjucks.runtime.SafeString(markdown(String(text))));
  environment.addFilter('code', (text: unknown) => new nunjucks.runtime.SafeString(codeSpan(String(text))));
  return environment;
}

export function asset(name: 'css' | 'js'): string {
  if (typeof NETCASE_TEMPLATES !== 'undefined') return NETCASE_TEMPLATES[name];
  return readFileSync(join(reports, `incident/incident.${name}`), 'utf8');
}

/** A policy under which even a missed escape cannot run or phone home: the one style and the one script by their hashes. */
export function contentSecurityPolicy(css: string, js: string): string {
  const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return `default-src 'none'; style-src ${hash(css)}; script-src ${hash(js)}; base-uri 'none'; form-action 'none'`;
}

/** Bundle text in Markdown: no markup, no mention, no issue link, no autolink, no HTML. */
export function markdown(text: string): string {
  return (
    text
      .replaceAll('\n', ' ')
      .replace(/[\\`*_{}[\]<>()#+!|~]/g, '\\$&')
      .replaceAll('@', '@\u2060')
      // trackers look for issue numbers in the rendered text, where a backslash is gone
      .replaceAll('#', '#\u2060')
      .replace(/GH-/gi, (t) => `${t.slice(0, 2)}\u2060-`)
      .replace(/(https?):\/\//g, '$1:\u2060//')
      .replace(/www\./g, 'www\u2060.')
  );
}

/** A code span whose fence is longer than any run of backticks inside. */
export function codeSpan(text: string): string {
  const flat = text.replaceAll('\n', ' ');
  const longest = Math.max(0, ...[...flat.matchAll(/`+/g)].map((m) => m[0].length));
  const fence = '`'.repeat(longest + 1);
  const pad = flat.startsWith('`') || flat.endsWith('`') ? ' ' : '';
  return `${fence}${pad}${flat}${pad}${fence}`;
}

/** A fenced block, fence longer than any run of backticks inside. */
export function codeBlock(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((m) => m[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}
