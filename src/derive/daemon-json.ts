import type { Span } from '../core/span.ts';
import type { Fact, FactKind, JsonSettings, Setting } from '../facts/index.ts';
import {
  FLAG_NAMES,
  KNOWN_KEYS,
  LOG_OPTIONS,
  NEWEST_KNOWN,
  REMOVED_KEYS,
  SHORT_FLAGS,
  SINCE,
} from './daemon-json-keys.ts';
import { daemonJsonNetworkFaults } from './daemon-json-networks.ts';
import { daemonJsonShapeFaults } from './daemon-json-shapes.ts';
import { daemonJsonValueFaults } from './daemon-json-values.ts';
import type { Source } from './devices.ts';
import { flag, setting } from './settings.ts';

export type At = (...spans: Span[]) => Fault['at'];

export interface Fault {
  readonly key: string;
  readonly reason: string;
  readonly at: readonly { readonly fact: Fact<FactKind>; readonly span: Span }[];
  readonly sure: boolean;
  readonly severity?: 'medium';
}

type Kinds = 'daemonJson' | 'dockerVersion' | 'dockerInfo' | 'dockerdArgs' | 'dockerUnit' | 'dockerDefault';

/** Docker engine's major version: what the server said of itself, else null. */
export function dockerMajor(
  source: Source<'dockerVersion' | 'dockerInfo'>,
): { readonly major: number; readonly minor: number } | null {
  const version = source.get('dockerVersion');
  const info = source.get('dockerInfo');
  const text =
    (version.missing ? undefined : setting(version.value, 'Server.Version')?.value) ??
    (info.missing ? undefined : setting(info.value, 'ServerVersion')?.value);
  const match = typeof text === 'string' ? /^v?(\d+)\.(\d+)/.exec(text) : null;
  return match === null ? null : { major: Number(match[1]), minor: Number(match[2]) };
}

/** Everything in daemon.json that makes dockerd refuse to start. `major` null: only what no version accepts. */
export function daemonJsonFaults(source: Source<Kinds>, major: number | null): Fault[] {
  const file = source.get('daemonJson');
  if (file.missing) return [];
  const { value } = file;
  const at = (...spans: Span[]) => spans.map((span) => ({ fact: file as Fact<FactKind>, span }));
  const faults: Fault[] = [];
  const broken = notJson(value, major, at);
  if (broken !== null) return broken === 'empty' ? [] : [broken];
  if (value.rootType !== 'object')
    return [
      {
        key: 'not-an-object',
        reason: `its top level is ${value.rootType}, not an object`,
        at: at({ line: 1 }),
        sure: true,
      },
    ];
  // measured on 20.10: a BOM is refused, a key that stands twice is not (the last one wins)
  if (value.bom && major !== null && major < 23)
    faults.push({ key: 'bom', reason: 'it starts with a byte-order mark', at: at({ line: 1 }), sure: true });
  for (const s of topLevel(value)) {
    const known = KNOWN_KEYS.get(s.path);
    const since = SINCE.get(s.path);
    const removed = REMOVED_KEYS.get(s.path);
    if (known === undefined) {
      // dockerd takes the names of its flags for known and ignores them: no effect, but it starts
      if (FLAG_NAMES.has(s.path)) continue;
      // of an object that is none of its settings it looks at the names inside, and takes what is one of its own
      const inside = s.type === 'object' ? childrenOf(value, s.path) : null;
      if (inside?.every((name) => KNOWN_KEYS.has(name) || FLAG_NAMES.has(name))) continue;
      faults.push({
        key: `unknown ${s.path}`,
        reason: `"${s.path}" is not a setting of dockerd`,
        at: at(s),
        sure: major !== null && major <= NEWEST_KNOWN,
        ...(major === null || major > NEWEST_KNOWN ? { severity: 'medium' } : {}),
      });
    } else if (removed !== undefined && major !== null && major >= removed) {
      faults.push({
        key: `removed ${s.path}`,
        reason: `Docker ${removed} removed "${s.path}", this is ${major}`,
        at: at(s),
        sure: true,
      });
    } else if (since !== undefined && major !== null && major < since) {
      faults.push({
        key: `too-new ${s.path}`,
        reason: `"${s.path}" needs Docker ${since}, this is ${major}`,
        at: at(s),
        sure: true,
      });
    } else if (known !== 'any' && s.type !== known && s.type !== 'null') {
      faults.push({
        key: `type ${s.path}`,
        reason: `"${s.path}" must be ${known}, it is ${s.type}`,
        at: at(s),
        sure: true,
      });
    }
  }
  faults.push(
    ...daemonJsonShapeFaults(value, at),
    ...doubled(source, file),
    ...daemonJsonValueFaults(value, at, major),
    ...daemonJsonNetworkFaults(value, at, major),
    ...logOptions(source, value, at, major),
    ...withoutNetwork6(source, value, at, major),
    ...swarm(source, value, at),
  );
  return faults;
}

const topLevel = (value: JsonSettings): readonly Setting[] => value.settings.filter((s) => !s.path.includes('.'));

/** dockerd refuses a setting that stands both in the file and on its command line. */
function doubled(source: Source<Kinds>, file: Fact<'daemonJson'>): Fault[] {
  const faults: Fault[] = [];
  for (const s of topLevel(file.value)) {
    // measured on 20.10: of all settings that stand twice, dockerd lets only runtimes pass
    if (s.path === 'runtimes') continue;
    const other = onCommandLine(source, flagNames(s.path));
    if (other !== undefined) {
      faults.push({
        key: `doubled ${s.path}`,
        reason: `"${s.path}" is also given on dockerd's command line`,
        at: [{ fact: file as Fact<FactKind>, span: s }, other],
        sure: other.fact.kind !== 'dockerDefault',
      });
    }
  }
  return faults;
}

type Place = Fault['at'][number];

function startOf(source: Source<'dockerUnit'>) {
  const unit = source.get('dockerUnit');
  const start = unit.missing
    ? undefined
    : unit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
  return unit.missing || start === undefined ? null : { fact: unit as Fact<FactKind>, span: start, text: start.value };
}

/** Where dockerd has a flag from: the unit that will start it, a variable of that, or the arguments that it was started with. */
function onCommandLine(source: Source<Kinds>, names: readonly string[]): Place | undefined {
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

const childrenOf = (value: JsonSettings, path: string) =>
  value.settings.flatMap((s) => {
    const name = s.path.startsWith(`${path}.`) ? s.path.slice(path.length + 1) : '';
    return name === '' || name.includes('.') ? [] : [name];
  });

/** Options that the log driver does not have. Measured on 20.10 for json-file, also by default, and journald. */
function logOptions(source: Source<Kinds>, value: JsonSettings, at: At, major: number | null): Fault[] {
  const written = setting(value, 'log-driver');
  if (written === undefined && (onCommandLine(source, ['log-driver']) !== undefined || !commandLineKnown(source)))
    return [];
  const driver = `${written?.value || 'json-file'}`;
  const known = LOG_OPTIONS.get(driver);
  return value.settings.flatMap((s) => {
    const option = /^log-opts\.([^.]+)$/.exec(s.path)?.[1];
    if (option === undefined || known === undefined || known.has(option)) return [];
    const sure = major !== null && major <= NEWEST_KNOWN;
    const place = written === undefined ? at(s) : at(s, written);
    const reason = `log driver ${driver} has no option "${option}"`;
    return [{ key: `log-opt ${option}`, reason, at: place, sure, ...(sure ? {} : { severity: 'medium' as const }) }];
  });
}

const commandLineKnown = (source: Source<Kinds>) =>
  !source.get('dockerdArgs').missing || (startOf(source) !== null && openVariables(source) === null);

/** Until Docker 27 the default bridge had no IPv6 network but one that was named. */
function withoutNetwork6(source: Source<Kinds>, value: JsonSettings, at: At, major: number | null): Fault[] {
  const on = setting(value, 'ipv6');
  if (on?.value !== true || major === null || major >= 27 || !commandLineKnown(source)) return [];
  const given = ['fixed-cidr-v6', 'bridge', 'bip6'].some(
    (name) => setting(value, name) !== undefined || onCommandLine(source, flagNames(name)) !== undefined,
  );
  const reason = '"ipv6" is on and "fixed-cidr-v6" is missing';
  return given ? [] : [{ key: 'ipv6', reason, at: at(on), sure: true }];
}

/** The names that a setting's flag may have on the command line: most lists are in the singular there. */
function flagNames(path: string): string[] {
  const short = SHORT_FLAGS.get(path);
  return [path, path.replace(/ies$/, 'y').replace(/s$/, ''), ...(short === undefined ? [] : [short])];
}

/** A text that dockerd's JSON reader stops at. Measured: 20.10 takes what follows the object, and refuses an empty file; 23 the other way round. */
function notJson(value: JsonSettings, major: number | null, at: At): Fault | 'empty' | null {
  const [first, ...more] = value.errors.filter((e) => e.message !== 'byte order mark');
  if (first === undefined) return null;
  const behind = value.rootType === 'object' && more.length === 0 && first.message === 'EndOfFileExpected';
  const lenient = behind ? 'old' : value.rootType === 'none' && value.settings.length === 0 ? 'new' : null;
  const fine = lenient !== null && major !== null && (lenient === 'old') === major < 23;
  if (fine) return behind ? null : 'empty';
  const reason = `it is not valid JSON at line ${first.line}: ${first.message}`;
  if (lenient !== null && major === null)
    return { key: 'not-json', reason, at: at(first), sure: false, severity: 'medium' };
  return { key: 'not-json', reason, at: at(first), sure: true };
}

function swarm(source: Source<Kinds>, value: JsonSettings, at: At): Fault[] {
  const live = setting(value, 'live-restore');
  const info = source.get('dockerInfo');
  const state = info.missing ? undefined : setting(info.value, 'Swarm.LocalNodeState');
  if (live?.value !== true || info.missing || state?.value !== 'active') return [];
  return [
    {
      key: 'live-restore-swarm',
      reason: '"live-restore" does not go with an active swarm',
      at: [...at(live), { fact: info as Fact<FactKind>, span: state }],
      sure: true,
    },
  ];
}
