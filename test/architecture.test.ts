import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Folder -> folders of ours that it may import, and why nothing else. */
const ALLOWED: Record<string, { may: readonly string[]; because: string }> = {
  'src/core': { may: [], because: 'words that everything shares depend on nothing' },
  'src/facts': { may: ['src/core'], because: 'types only' },
  'src/parsers': { may: ['src/core', 'src/facts'], because: 'a parser knows text and its fact, not who asks' },
  'src/derive': { may: ['src/core', 'src/facts'], because: 'facts out of facts; rules decide what they mean' },
  'src/net': { may: ['src/core', 'src/facts'], because: 'the packet path is checked against the kernel on its own' },
  'src/rule': { may: ['src/core', 'src/facts'], because: 'what a rule is made with must not know any rule' },
  rules: {
    may: ['src/rule', 'src/core', 'src/facts', 'src/derive', 'src/net'],
    because: 'a rule may not see files, the store or another rule',
  },
  'src/engine': {
    may: ['src/core', 'src/facts', 'src/parsers', 'src/derive', 'src/rule'],
    because: 'rules are handed in, so that tests can hand in others',
  },
  'src/bundle': { may: ['src/core'], because: 'reading hostile bytes is a small surface' },
  'src/store': { may: ['src/core'], because: 'the only folder with SQL knows no rule' },
  'src/report': {
    may: ['src/core', 'src/rule', 'src/engine'],
    because: 'a report shows an analysis and computes none',
  },
  'src/cases': {
    may: [
      'src/core',
      'src/facts',
      'src/parsers',
      'src/derive',
      'src/net',
      'src/rule',
      'src/engine',
      'src/bundle',
      'src/store',
      'src/report',
      'rules/index.ts',
    ],
    because:
      'uses join everything but commands; only the worker names the rules, because functions cannot be sent to a thread',
  },
  'src/commands': {
    may: ['src/cases', 'src/core', 'src/rule', 'src/report', 'src/engine', 'src/store', 'rules/index.ts'],
    because: 'flags to one use; rendering names and types only',
  },
  'src/main.ts': { may: [], because: 'oclif finds the commands' },
  'src/program.ts': {
    may: ['src/main.ts', 'src/commands', 'src/cases'],
    because: 'what bin/ takes from the built program',
  },
};

const NODE_FS = /^(node:)?(fs|fs\/promises)$/;

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.ts'))
    .map((f) => `${folder}/${f}`);
}

function importsOf(file: string): { target: string; typeOnly: boolean }[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: { target: string; typeOnly: boolean }[] = [];
  for (const m of text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'";]*?from\s+)?'([^']+)'/gm))
    found.push({ target: m[2] ?? '', typeOnly: m[1] !== undefined });
  for (const m of text.matchAll(/import\('([^']+)'\)/g)) found.push({ target: m[1] ?? '', typeOnly: false });
  return found;
}

const all = [...sources('src'), ...sources('rules')];
const folderOf = (file: string) => Object.keys(ALLOWED).find((f) => file === f || file.startsWith(`${f}/`));

describe('who may import whom', () => {
  it('knows every folder', () => {
    expect(all.filter((f) => folderOf(f) === undefined)).toEqual([]);
    expect(all.length).toBeGreaterThan(50);
  });

  it('holds the boundaries', () => {
    const broken: string[] = [];
    for (const file of all) {
      const own = folderOf(file) as string;
      const { may, because } = ALLOWED[own] as (typeof ALLOWED)[string];
      for (const { target } of importsOf(file)) {
        if (!target.startsWith('.')) continue;
        const path = relative(root, resolve(root, dirname(file), target));
        const folder = folderOf(path);
        if (folder === own && own !== 'rules') continue;
        if (own === 'rules' && file === 'rules/index.ts') continue;
        if (!may.some((m) => path === m || path.startsWith(`${m}/`)))
          broken.push(`${file} imports ${path}: ${because}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('keeps files, SQL and clocks where they belong', () => {
    const broken: string[] = [];
    for (const file of all) {
      const text = readFileSync(join(root, file), 'utf8');
      for (const { target } of importsOf(file)) {
        if (NODE_FS.test(target) && !/^src\/(bundle|store|report|commands|cases|main\.ts)/.test(file))
          broken.push(`${file} touches the file system`);
        if (/^(better-sqlite3|kysely)$/.test(target) && !file.startsWith('src/store/'))
          broken.push(`${file} imports ${target}`);
        if (/^(tar|tar\/.*)$/.test(target) && !file.startsWith('src/bundle/')) broken.push(`${file} imports ${target}`);
        if (target === 'nunjucks' && !file.startsWith('src/report/')) broken.push(`${file} imports ${target}`);
      }
      if (/^(rules|src\/(parsers|derive|net|facts|core|engine))\//.test(file)) {
        if (/\bDate\.now\(|new Date\(\)|performance\.now|Math\.random|process\.env/.test(text))
          broken.push(`${file} reads a clock, chance or the environment`);
      }
      if (
        /^(rules|src\/parsers)\//.test(file) &&
        /\basync\b|\bawait\b/.test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''))
      )
        broken.push(`${file} is async`);
    }
    expect(broken).toEqual([]);
  });

  it('has no source file over 300 lines', () => {
    const long = all
      .filter((f) => !/evidence-list\.ts$/.test(f))
      .map((f) => ({ f, lines: readFileSync(join(root, f), 'utf8').split('\n').length }))
      .filter(({ lines }) => lines > 320);
    expect(long).toEqual([]);
  });
});
