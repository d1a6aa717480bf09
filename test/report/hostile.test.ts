import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { table } from '../../src/commands/base.ts';
import { csv } from '../../src/report/csv.ts';
import { renderHtml } from '../../src/report/html.ts';
import type { Analysis } from '../../src/report/index.ts';
import { FORMATS, render } from '../../src/report/index.ts';
import { browserAvailable, launch, openReport } from '../support/browser.ts';
import { demo, PLACE } from './fleet.ts';

// no types are published for it; only Parser and its walker are used
const commonmark = createRequire(import.meta.url)('commonmark') as {
  Parser: new () => {
    parse(text: string): {
      walker(): {
        next(): { entering: boolean; node: { type: string; literal: string | null; destination: string } } | null;
      };
    };
  };
};

const MARKERS: Readonly<Record<string, string>> = {
  html: '"><img src=x onerror=alert(1)><script>alert(2)</script></style></title><svg onload=alert(3)>\'" onmouseover="alert(4)',
  template: '{{7*7}}{% set x = 1 %}{{range.constructor("return process")()}}${7*7}#{7*7}',
  xml: ']]>&lt;<![CDATA[x]]><!--x--><?pi?>&#0;&xxe;\ud800\ufffe',
  terminal: '\u001b[2J\u001b]0;owned\u0007\u001b]8;;http://evil.example\u001b\\x\u009b31m\r\b\u007f\u0000 y',
  bidi: '\u202etxt.exe\u202c\u2066a\u2069\u200b\u200f\ufeff\u00ad',
  tags: '\u{e0041}\u{e0042}\u3164\u2800\u034f\u115f\u17b4\ufe0f',
  markdown:
    '@team #1 GH-2 [x](javascript:alert(1)) ![y](http://evil.example/z) <b>c</b> `d` ```e``` **f** ~~g~~ [[h]] http://evil.example/i www.evil.example a@evil.example org/repo#3',
  block:
    '\n# heading\n\n- list\n\n> quote\n\n```\nfence\n```\n\n| a | b |\n|---|---|\n\n    code\n\n1. one\n\n[ref]: http://evil.example',
  start: '- item',
  setext: 'x\n===\n+ y\n1) z',
  formula: "=cmd|'/c calc'!A1",
  plus: '+1+cmd|x',
  at: '@SUM(A1)',
  wide: '\uff1d1+1',
  tab: '\t=1+1',
  newline: 'line one\nline two\r\nline three\u2028four\u0085five',
  long: 'x'.repeat(20_000),
  proto: '__proto__',
};

/** Values that the rest of the analysis is joined by, or that come from the tool and not from a bundle. */
const FIXED = new Set([
  'kind',
  'severity',
  'confidence',
  'schemaVersion',
  'id',
  'rule',
  'finding',
  'ruleset',
  'version',
  'collectedAt',
  'explains',
  'alsoOn',
]);

/** The marker in every string of an analysis; what must match elsewhere (nodes, keys of records) changes the same way everywhere. */
function poison(value: unknown, mark: (text: string) => string, key = ''): unknown {
  if (typeof value === 'string') return FIXED.has(key) ? value : mark(value);
  if (Array.isArray(value)) return value.map((v) => poison(v, mark, key));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, poison(v, mark, k)]));
}

/** Every string of `analysis` ends (or starts) with the marker, node names included where they are keys. */
function hostile(analysis: Analysis, marker: string, first: boolean): Analysis {
  const mark = (text: string) => (first ? `${marker}${text}` : `${text}${marker}`);
  const { rules, tool, matrix, topology, verdicts, ...rest } = analysis;
  const nodes = <T>(row: Readonly<Record<string, T>>) => Object.entries(row).map(([n, v]) => [mark(n), v] as const);
  return {
    ...(poison(rest, mark) as Omit<Analysis, 'rules' | 'tool' | 'matrix' | 'topology' | 'verdicts'>),
    // the texts of our own rules are trusted, but harmless is harmless
    rules: rules.map((r) => ({ ...(poison(r, mark) as typeof r), references: r.references })),
    tool,
    verdicts,
    matrix: Object.fromEntries(Object.entries(matrix).map(([rule, row]) => [rule, Object.fromEntries(nodes(row))])),
    topology: Object.fromEntries(nodes(topology).map(([n, t]) => [n, poison(t, mark) as typeof t])),
    accepted: {},
  };
}

/** An analysis in which every list has an entry. */
async function full(): Promise<Analysis> {
  const analysis = await demo();
  const [first, second] = analysis.findings;
  if (first === undefined || second === undefined) throw new Error('the demo has two findings');
  return {
    ...analysis,
    unknown: [
      {
        rule: first.rule,
        nodes: ['node-a', 'node-c'],
        because: 'a reason',
        evidence: [analysis.gaps[0]?.evidence ?? ''],
        kind: 'unknown',
      },
    ],
    missingNodes: [{ node: 'node-z', because: 'named in the fdb', cites: first.cites }],
    problems: [{ source: 'x.tar.gz', node: 'node-a', code: 'altered', severity: 'high', message: 'a message' }],
    causes: analysis.causes.map((c, i) => (i === 0 ? { ...c, explains: [second.id], alsoOn: [second.id] } : c)),
    findings: analysis.findings.map((f) => ({
      ...f,
      disprove: 'a thing',
      remediation: [{ step: 's', run: 'r', verify: 'v', undo: 'u', risk: 'k' }],
    })),
    accepted: { [second.id]: { because: 'known', until: '2030-01-01' } },
  };
}

/** Control, bidi, zero-width, tag and blank-looking characters that no output may hold raw. */
const RAW =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]|\u034f/u;

let base: Analysis;
const cases: [string, string, Analysis][] = [];
beforeAll(async () => {
  base = await full();
  for (const [name, marker] of Object.entries(MARKERS))
    for (const first of [true, false])
      cases.push([`${name} ${first ? 'first' : 'last'}`, marker, hostile(base, marker, first)]);
});

describe('text formats', () => {
  it('plain text holds no control character but its own newlines', async () => {
    const clean = (await render('text', base, PLACE)).split('\n').length;
    for (const [name, marker, analysis] of cases) {
      const text = await render('text', analysis, PLACE);
      expect(text, name).not.toMatch(RAW);
      expect(text, name).not.toContain('\t');
      if (marker.length < 30) expect(text.split('\n').length, name).toBeLessThan(3 * clean);
    }
  });

  it('tables of the listings are one line a row', () => {
    for (const marker of Object.values(MARKERS)) {
      const text = table(
        ['A', 'B'],
        [
          [marker, marker],
          ['x', marker],
        ],
      );
      expect(text.split('\n')).toHaveLength(4);
      expect(text).not.toMatch(RAW);
    }
  });

  it('CSV holds no formula cell and keeps its shape', () => {
    const script = 'import csv,sys,json;print(json.dumps(list(csv.reader(sys.stdin,strict=True))))';
    for (const marker of Object.values(MARKERS)) {
      const text = csv(
        ['a', 'b'],
        [
          [marker, 'x'],
          [`${marker}"`, marker],
        ],
      );
      const rows = JSON.parse(execFileSync('python3', ['-c', script], { input: text, encoding: 'utf8' })) as string[][];
      expect(rows.map((r) => r.length)).toEqual([2, 2, 2]);
      for (const cell of rows.flat()) expect(cell).not.toMatch(/^[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]/);
    }
  });

  it('JSON and SARIF are JSON, and JSON gives every marker back as it was', async () => {
    for (const [name, marker, analysis] of cases) {
      const json = JSON.parse(await render('json', analysis, PLACE)) as Analysis;
      if (marker === '__proto__') expect(Object.getPrototypeOf(json)).toBe(Object.prototype);
      expect(
        json.findings.map((f) => f.message),
        name,
      ).toEqual(analysis.findings.map((f) => f.message));
      expect(
        json.findings.map((f) => f.nodes),
        name,
      ).toEqual(analysis.findings.map((f) => f.nodes));
      const sarif = JSON.parse(await render('sarif', analysis, PLACE)) as {
        runs: { results: { message: { text: string } }[] }[];
      };
      for (const r of sarif.runs[0]?.results ?? []) expect(r.message.text, name).not.toMatch(RAW);
    }
  });

  it('JUnit is well-formed XML with the elements of the clean one', async () => {
    const script =
      'import sys,json,xml.etree.ElementTree as E\nfor d in json.load(sys.stdin): print(json.dumps([[e.tag,sorted(e.attrib)] for e in E.fromstring(d.encode("utf-8")).iter()]))';
    const docs = [await render('junit', base, PLACE)];
    for (const [, , analysis] of cases) docs.push(await render('junit', analysis, PLACE));
    const shapes = execFileSync('python3', ['-c', script], { input: JSON.stringify(docs), encoding: 'utf8' })
      .trim()
      .split('\n');
    expect(shapes).toHaveLength(docs.length);
    const sorted = (s: string) => (JSON.parse(s) as unknown[]).map((e) => JSON.stringify(e)).sort();
    for (const [i, shape] of shapes.entries())
      expect(sorted(shape), cases[i - 1]?.[0]).toEqual(sorted(shapes[0] as string));
  });
});

describe('Markdown', () => {
  it('has no block, link, image or HTML that the template did not write, and no mention', async () => {
    const clean = kinds(await render('md', base, PLACE));
    for (const [name, marker, analysis] of cases) {
      const text = await render('md', analysis, PLACE);
      expect(text.length, name).toBeLessThanOrEqual(4000);
      expect(text.replaceAll('\u2060', ''), name).not.toMatch(RAW);
      const prose = proseOf(text);
      expect(prose, name).not.toMatch(/(^|[^\w])@\w/);
      expect(prose, name).not.toMatch(/\w@\w+\.\w/);
      expect(prose, name).not.toMatch(/https?:\/\/|www\.\w/);
      expect(prose, name).not.toMatch(/#\d|GH-\d/);
      const got = kinds(text);
      expect(
        Object.keys(got).filter((k) => !(k in clean)),
        name,
      ).toEqual([]);
      // longer names leave room for fewer causes, and no name makes a heading
      if (marker.length < 100) expect(got['heading'], name).toBeGreaterThan(2);
      expect(got['heading'], name).toBeLessThanOrEqual(clean['heading'] ?? 0);
    }
  });
});

/** Text nodes only: what a tracker would look for mentions and links in. Code is not looked into. */
function proseOf(text: string): string {
  const walker = new commonmark.Parser().parse(text).walker();
  let out = '';
  for (let e = walker.next(); e !== null; e = walker.next())
    if (e.entering && e.node.type === 'text') out += e.node.literal ?? '';
  return out;
}

function kinds(text: string): Record<string, number> {
  const walker = new commonmark.Parser().parse(text).walker();
  const out: Record<string, number> = {};
  for (let e = walker.next(); e !== null; e = walker.next())
    if (e.entering) out[e.node.type] = (out[e.node.type] ?? 0) + 1;
  return out;
}

describe.runIf(browserAvailable())('HTML in Chromium', () => {
  const dir = mkdtempSync(join(tmpdir(), 'nc-hostile-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('no new element, attribute, request, dialog or error; no raw invisible character', async () => {
    const browser = await launch();
    const shape = `(() => {
      const out = {};
      for (const e of document.querySelectorAll('*')) {
        if (e.closest('nav') !== null) continue;
        const key = e.localName + ' ' + [...e.attributes].map((a) => a.name).sort().join(',');
        out[key] = (out[key] ?? 0) + 1;
      }
      return out;
    })()`;
    const look = async (name: string, analysis: Analysis) => {
      const file = join(dir, 'r.html');
      const html = renderHtml(analysis, PLACE);
      expect(html, name).not.toMatch(RAW);
      writeFileSync(file, html);
      const { page, requests, errors } = await openReport(browser, file);
      const found = (await page.evaluate(shape)) as Record<string, number>;
      const text = (await page.evaluate('document.body.textContent')) as string;
      const wide = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      expect(requests, name).toHaveLength(1);
      expect(errors, name).toEqual([]);
      expect(wide, `${name}: wider than the window`).toBeLessThanOrEqual(0);
      await page.context().close();
      return { found, text };
    };
    try {
      const clean = await look('clean', base);
      for (const [name, marker, analysis] of cases) {
        const { found, text } = await look(name, analysis);
        // lines of context that hold newlines are still one element each; groups of nodes may fold differently
        expect(
          Object.keys(found).filter((k) => !(k in clean.found)),
          name,
        ).toEqual([]);
        for (const tag of ['script ', 'style ', 'title ', 'h1 id', 'img ', 'iframe ', 'a href,rel'])
          expect(found[tag], `${name}: ${tag}`).toBe(clean.found[tag]);
        if (marker.startsWith('{{')) expect(text, name).toContain('{{7*7}}');
      }
    } finally {
      await browser.close();
    }
  });
});

it('every format renders every hostile analysis', async () => {
  for (const [name, , analysis] of cases)
    for (const format of FORMATS)
      expect((await render(format, analysis, PLACE)).length, `${name} ${format}`).toBeGreaterThan(0);
});
