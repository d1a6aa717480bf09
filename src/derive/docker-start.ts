import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';

export type DockerStartKinds = 'dockerUnit' | 'dockerDefault';

/** A word of the command line, and the line it is written on. */
export type StartWord = Told & { readonly text: string };

/** What systemd would start dockerd with. `open`: variables of it that nothing collected gives a value. */
export interface DockerStart {
  readonly words: readonly StartWord[];
  readonly open: readonly string[];
}

/** Files of variables that the collector reads. */
const COLLECTED = /^-?\/etc\/(default|sysconfig)\/docker$/;

/** The last ExecStart of docker.service, in words as systemd parts them (systemd.service(5), "Command lines"); null: none was collected. */
export function dockerStart(source: Source<DockerStartKinds>): DockerStart | null {
  const unit = source.get('dockerUnit');
  if (unit.missing) return null;
  const service = unit.value.entries.filter((e) => e.section === 'Service');
  const start = service.findLast((e) => e.key === 'ExecStart');
  if (start === undefined) return null;
  const words: StartWord[] = [];
  const open: string[] = [];
  const env = source.get('dockerDefault');
  const files = service.filter((e) => e.key === 'EnvironmentFile' && e.value !== '');
  const read = (env.missing ? env.lookedFor : env.closed) && files.every((f) => COLLECTED.test(f.value));
  const own = (name: string): StartWord | undefined => {
    const line = env.missing ? undefined : env.value.variables.findLast((v) => v.name === name);
    // files win over Environment= (systemd.exec(5))
    if (line !== undefined && !env.missing) return { text: line.value, fact: env as Fact<FactKind>, span: line };
    for (const entry of service.toReversed()) {
      if (entry.key !== 'Environment') continue;
      const set = wordsOf(entry.value).findLast((w) => w.startsWith(`${name}=`));
      if (set !== undefined) return { text: set.slice(name.length + 1), fact: unit, span: entry };
    }
    return undefined;
  };
  for (const text of wordsOf(start.value)) {
    const name = /^\$\{?(\w+)\}?$/.exec(text)?.[1];
    const value = name === undefined ? undefined : own(name);
    if (name === undefined) words.push({ text, fact: unit, span: start });
    else if (value !== undefined) words.push(...wordsOf(value.text).map((word) => ({ ...value, text: word })));
    else if (name !== 'MAINPID' && !read) open.push(`$${name}`);
  }
  return { words, open };
}

/** Words apart by blanks; quotes hold one together. */
function wordsOf(text: string): string[] {
  const found = text.matchAll(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+/g);
  return [...found].map(([word]) => word.replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, a, b) => a ?? b));
}

/** Every value of an option on it; a bare switch is `true`, as one in front of another option is. */
export function startValues({ words }: DockerStart, ...names: readonly string[]): readonly StartWord[] {
  return words.flatMap((word, i): readonly StartWord[] => {
    for (const name of names) {
      const dashes = name.length === 1 ? '-' : '--';
      const rest = word.text.startsWith(dashes + name) ? word.text.slice(dashes.length + name.length) : null;
      if (rest === null) continue;
      if (rest.startsWith('=')) return [{ ...word, text: rest.slice(1) }];
      // -Hfd://
      if (rest !== '') return name.length === 1 ? [{ ...word, text: rest }] : [];
      const next = words[i + 1];
      return [
        next === undefined || next.text.startsWith('-') ? { ...word, text: 'true' } : { ...word, text: next.text },
      ];
    }
    return [];
  });
}
