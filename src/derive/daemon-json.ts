import type { Span } from '../core/span.ts';
import type { Fact, FactKind, JsonSettings, Setting } from '../facts/index.ts';
import { commandLineKnown, commandLineValue, flagNames, onCommandLine } from './daemon-json-flags.ts';
import { FLAG_NAMES, KNOWN_KEYS, NEWEST_KNOWN, REMOVED_KEYS, SINCE } from './daemon-json-keys.ts';
import { daemonJsonLogFaults } from './daemon-json-logs.ts';
import { daemonJsonNameFaults } from './daemon-json-names.ts';
import { daemonJsonNetworkFaults } from './daemon-json-networks.ts';
import { daemonJsonShapeFaults } from './daemon-json-shapes.ts';
import { bridgeAndBip, clusterFaults, withoutIptables } from './daemon-json-together.ts';
import { daemonJsonValueFaults } from './daemon-json-values.ts';
import type { Source } from './devices.ts';
import { setting } from './settings.ts';

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
  const value = latest(file.value);
  const at = (...spans: Span[]) => spans.map((span) => ({ fact: file as Fact<FactKind>, span }));
  const faults: Fault[] = [];
  const broken = notJson(value, major, at);
  if (broken !== null) return broken === 'empty' ? [] : [broken];
  // all of it is unset then
  if (value.rootType === 'null') return [];
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
    // of an object that is none of its settings it looks at the names inside, and takes what is one of its own
    if (s.type === 'object' && !isKnown(s.path, major)) {
      if (childrenOf(value, s.path).every((name) => isKnown(name, major))) continue;
    }
    if (known === undefined) {
      // dockerd takes the names of its flags for known and ignores them: no effect, but it starts
      if (FLAG_NAMES.has(s.path) && isKnown(s.path, major)) continue;
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
  const bare = setting(value, 'bridge')?.value === 'none' || onCommandLine(source, flagNames('bridge')) !== undefined;
  faults.push(
    ...daemonJsonShapeFaults(value, at),
    ...doubled(source, file),
    ...daemonJsonValueFaults(value, at, major, bare),
    ...daemonJsonNameFaults(value, at, major),
    ...daemonJsonNetworkFaults(value, at, major, bare),
    ...withoutIptables(source, value, at, major),
    ...bridgeAndBip(source, value, at, major),
    ...clusterFaults(source, value, at, major),
    ...(logDriverKnown(source, value)
      ? daemonJsonLogFaults(value, at, major, commandLineValue(source, 'log-driver'))
      : []),
    ...withoutNetwork6(source, value, at, major),
    ...swarm(source, value, at),
  );
  return faults;
}

/** A name may have a point in it; of what lies deeper the name in front of the first point is there as well. */
function topLevel(value: JsonSettings): readonly Setting[] {
  const heads = new Set(value.settings.flatMap((s) => (s.path.includes('.') ? [] : [s.path])));
  return value.settings.filter((s) => !s.path.includes('.') || !heads.has(s.path.slice(0, s.path.indexOf('.'))));
}

/** Of a name that stands twice at the top the last one counts (a type that is wrong is refused in the first as well). */
function latest(value: JsonSettings): JsonSettings {
  const names = new Set(value.duplicateKeys.flatMap((d) => (d.path.includes('.') ? [] : [d.path])));
  if (names.size === 0) return value;
  const settings = value.settings.filter((s, i) => {
    const [name = ''] = s.path.split('.');
    if (!names.has(name) || !isRightType(value, name)) return true;
    return value.settings.findLastIndex((o) => o.path === name) <= i;
  });
  return { ...value, settings };
}

/** Objects are merged, and a number that is no integer is refused wherever it stands. */
const isRightType = (value: JsonSettings, name: string) =>
  KNOWN_KEYS.get(name) !== 'object' &&
  value.settings.every(
    (s) =>
      s.path !== name ||
      s.type === 'null' ||
      (s.type === KNOWN_KEYS.get(name) && (s.type !== 'number' || Number.isInteger(s.value))),
  );

/** dockerd of this version takes the name for that of a setting or of a flag. */
function isKnown(name: string, major: number | null): boolean {
  if (!KNOWN_KEYS.has(name) && !FLAG_NAMES.has(name)) return false;
  return major === null || (major >= (SINCE.get(name) ?? 0) && major < (REMOVED_KEYS.get(name) ?? 1000));
}

/** Without "log-driver" in the file its options are those of the driver on the command line. */
const logDriverKnown = (source: Source<Kinds>, value: JsonSettings) =>
  setting(value, 'log-driver') !== undefined || commandLineKnown(source);

/** dockerd refuses a setting that stands both in the file and on its command line. */
function doubled(source: Source<Kinds>, file: Fact<'daemonJson'>): Fault[] {
  // it looks for them in objects that are none of its settings, too
  const named = topLevel(file.value).flatMap((s): readonly (readonly [name: string, s: Setting])[] => {
    if (KNOWN_KEYS.has(s.path)) return [[s.path, s]];
    return s.type === 'object' ? childrenOf(file.value, s.path).map((name) => [name, s] as const) : [];
  });
  return named.flatMap(([name, s]): Fault[] => {
    // measured on 20.10: of all settings that stand twice, dockerd lets only runtimes pass
    const other = name === 'runtimes' || !KNOWN_KEYS.has(name) ? undefined : onCommandLine(source, flagNames(name));
    if (other === undefined) return [];
    const reason = `"${name}" is also given on dockerd's command line`;
    const place = [{ fact: file as Fact<FactKind>, span: s }, other];
    return [{ key: `doubled ${name}`, reason, at: place, sure: other.fact.kind !== 'dockerDefault' }];
  });
}

const childrenOf = (value: JsonSettings, path: string) =>
  value.settings.flatMap((s) => {
    const name = s.path.startsWith(`${path}.`) ? s.path.slice(path.length + 1) : '';
    return name === '' || name.includes('.') ? [] : [name];
  });

/** Until Docker 27 the default bridge had no IPv6 network but one that was named. */
function withoutNetwork6(source: Source<Kinds>, value: JsonSettings, at: At, major: number | null): Fault[] {
  const on = setting(value, 'ipv6');
  if (on?.value !== true || major === null || major >= 27 || !commandLineKnown(source)) return [];
  const given = ['fixed-cidr-v6', 'bridge', 'bip6'].some(
    (name) =>
      ![undefined, null, ''].includes(setting(value, name)?.value as null) ||
      onCommandLine(source, flagNames(name)) !== undefined,
  );
  const reason = '"ipv6" is on and "fixed-cidr-v6" is missing';
  return given ? [] : [{ key: 'ipv6', reason, at: at(on), sure: true }];
}

/** A text that dockerd's JSON reader stops at. Measured: 20.10 takes what follows the object, and refuses an empty file; 23 the other way round. */
function notJson(value: JsonSettings, major: number | null, at: At): Fault | 'empty' | null {
  const errors = value.errors.filter((e) => e.message !== 'byte order mark');
  const [first] = errors;
  if (first === undefined) return null;
  const behind = /^(object|null)$/.test(value.rootType) && errors.every((e) => e.message === 'EndOfFileExpected');
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
