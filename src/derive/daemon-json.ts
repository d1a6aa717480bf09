import type { Span } from '../core/span.ts';
import type { Fact, FactKind, JsonSettings, Setting } from '../facts/index.ts';
import { FLAG_NAMES, KNOWN_KEYS, NEWEST_KNOWN, SHORT_FLAGS, SINCE } from './daemon-json-keys.ts';
import { daemonJsonValueFaults } from './daemon-json-values.ts';
import type { Source } from './devices.ts';
import { flag, setting } from './settings.ts';

export interface Fault {
  readonly key: string;
  readonly reason: string;
  readonly at: readonly { readonly fact: Fact<FactKind>; readonly span: Span }[];
  readonly sure: boolean;
  readonly severity?: 'medium';
}

type Kinds = 'daemonJson' | 'dockerVersion' | 'dockerInfo' | 'dockerdArgs' | 'dockerUnit';

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
    if (known === undefined) {
      // dockerd takes the names of its flags for known and ignores them: no effect, but it starts
      if (FLAG_NAMES.has(s.path)) continue;
      faults.push({
        key: `unknown ${s.path}`,
        reason: `"${s.path}" is not a setting of dockerd`,
        at: at(s),
        sure: major !== null && major <= NEWEST_KNOWN,
        ...(major === null || major > NEWEST_KNOWN ? { severity: 'medium' } : {}),
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
  for (const s of value.settings) {
    const wanted = /^log-opts\.[^.]+$/.test(s.path) ? 'string' : /^features\.[^.]+$/.test(s.path) ? 'boolean' : s.type;
    if (s.type !== wanted && s.type !== 'null') {
      faults.push({
        key: `type ${s.path}`,
        reason: `"${s.path}" must be a ${wanted}, it is ${s.type}`,
        at: at(s),
        sure: true,
      });
    }
  }
  faults.push(...doubled(source, file), ...daemonJsonValueFaults(value, at, major), ...swarm(source, value, at));
  return faults;
}

const topLevel = (value: JsonSettings): readonly Setting[] => value.settings.filter((s) => !s.path.includes('.'));

/** dockerd refuses a setting that stands both in the file and on its command line. */
function doubled(source: Source<Kinds>, file: Fact<'daemonJson'>): Fault[] {
  const args = source.get('dockerdArgs');
  const unit = source.get('dockerUnit');
  const faults: Fault[] = [];
  for (const s of topLevel(file.value)) {
    // measured on 20.10: of all settings that stand twice, dockerd lets only runtimes pass
    if (s.path === 'runtimes') continue;
    const names = flagNames(s.path);
    let other: { fact: Fact<FactKind>; span: Span } | undefined;
    const start = unit.missing
      ? undefined
      : unit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
    if (!unit.missing && start !== undefined) {
      const word = names.find((n) =>
        new RegExp(`(^|\\s)-{1,2}${n.replace(/[^\w-]/g, '')}([=\\s]|$)`).test(start.value),
      );
      if (word !== undefined) other = { fact: unit as Fact<FactKind>, span: start };
    }
    // what a variable of the unit stands for is seen on the running process only
    if (other === undefined && !args.missing && (start === undefined || start.value.includes('$'))) {
      const f = flag(args.value, ...names);
      if (f !== undefined) other = { fact: args as Fact<FactKind>, span: f };
    }
    if (other !== undefined) {
      faults.push({
        key: `doubled ${s.path}`,
        reason: `"${s.path}" is also given on dockerd's command line`,
        at: [{ fact: file as Fact<FactKind>, span: s }, other],
        sure: true,
      });
    }
  }
  return faults;
}

/** The names that a setting's flag may have on the command line: most lists are in the singular there. */
function flagNames(path: string): string[] {
  const short = SHORT_FLAGS.get(path);
  return [path, path.replace(/ies$/, 'y').replace(/s$/, ''), ...(short === undefined ? [] : [short])];
}

/** A text that dockerd's JSON reader stops at. Measured: 20.10 takes what follows the object, and refuses an empty file; 23 the other way round. */
function notJson(
  value: JsonSettings,
  major: number | null,
  at: (...spans: Span[]) => Fault['at'],
): Fault | 'empty' | null {
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

function swarm(source: Source<Kinds>, value: JsonSettings, at: (...spans: Span[]) => Fault['at']): Fault[] {
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
