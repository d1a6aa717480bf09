import type { Fact, FactKind } from '../facts/index.ts';
import type { Fault } from './daemon-json.ts';
import { SHORT_FLAGS } from './daemon-json-keys.ts';
import type { Source } from './devices.ts';
import { dockerStart, startValues } from './docker-start.ts';
import { flag } from './settings.ts';

export type CommandLineKinds = 'dockerdArgs' | 'dockerUnit' | 'dockerDefault';
type Kinds = CommandLineKinds;

type Place = Fault['at'][number];

function startOf(source: Source<'dockerUnit'>) {
  const unit = source.get('dockerUnit');
  const start = unit.missing
    ? undefined
    : unit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
  return unit.missing || start === undefined ? null : { fact: unit as Fact<FactKind>, span: start, text: start.value };
}

/** Where dockerd has a flag from: the unit that will start it, a variable of that, or the arguments that it was started with. */
export function onCommandLine(source: Source<Kinds>, names: readonly string[]): Place | undefined {
  const start = startOf(source);
  const given = (text: string) =>
    names.some((n) => new RegExp(`(^|\\s)["']?-{1,2}${n.replace(/[^\w-]/g, '')}([=\\s]|$)`).test(text));
  if (start !== null && given(start.text)) return start;
  // what a variable of the unit stands for is seen on the running process, else in the file that sets it
  if (start !== null && !start.text.includes('$')) return undefined;
  const args = source.get('dockerdArgs');
  if (!args.missing) {
    const f = flag(args.value, ...names);
    return f === undefined ? undefined : { fact: args as Fact<FactKind>, span: f };
  }
  const env = source.get('dockerDefault');
  if (env.missing || start === null) return undefined;
  const line = env.value.variables.findLast((v) => start.text.includes(`$${v.name}`) && given(v.value));
  return line === undefined ? undefined : { fact: env as Fact<FactKind>, span: line };
}

/** Variables of the unit that nothing collected gives a value; null: none. */
export function openVariables(source: Source<Kinds>): string | null {
  const start = startOf(source);
  if (start === null || !source.get('dockerdArgs').missing) return null;
  const env = source.get('dockerDefault');
  const names = [...start.text.matchAll(/\$\{?(\w+)/g)].flatMap((m) => (m[1] === 'MAINPID' ? [] : (m[1] ?? [])));
  const open = names.filter((n) => env.missing || !env.value.variables.some((v) => v.name === n));
  return open.length === 0 ? null : open.map((n) => `$${n}`).join(', ');
}

/** Nothing of it is hidden in a variable. */
export const commandLineKnown = (source: Source<Kinds>) =>
  !source.get('dockerdArgs').missing || (startOf(source) !== null && openVariables(source) === null);

/** The names that a setting's flag may have on the command line: most lists are in the singular there. */
export function flagNames(path: string): string[] {
  const short = SHORT_FLAGS.get(path);
  return [path, path.replace(/ies$/, 'y').replace(/s$/, ''), ...(short === undefined ? [] : [short])];
}

/** The value that dockerd gets for a setting from its command line; undefined: none, or not known. */
export function commandLineValue(source: Source<Kinds>, path: string): string | undefined {
  const names = flagNames(path);
  const start = dockerStart(source);
  const args = source.get('dockerdArgs');
  if (start !== null && (start.open.length === 0 || args.missing)) return startValues(start, ...names).at(-1)?.text;
  return args.missing ? undefined : flag(args.value, ...names)?.value;
}
