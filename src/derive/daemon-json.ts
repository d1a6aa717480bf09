import { parseIp, parsePrefix } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact, FactKind, JsonSettings, Setting } from '../facts/index.ts';
import { FLAG_NAMES, KNOWN_KEYS, SINCE } from './daemon-json-keys.ts';
import type { Source } from './devices.ts';
import { elements, flag, setting } from './settings.ts';

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
  for (const e of value.errors.slice(0, 3))
    faults.push({
      key: 'not-json',
      reason: `it is not valid JSON at line ${e.line}: ${e.message}`,
      at: at(e),
      sure: true,
    });
  if (faults.length > 0) return faults.slice(0, 1);
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
        sure: major !== null,
        ...(major === null ? { severity: 'medium' } : {}),
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
    if (/^log-opts\.[^.]+$/.test(s.path) && s.type !== 'string') {
      faults.push({
        key: `type ${s.path}`,
        reason: `"${s.path}" must be a string, it is ${s.type}`,
        at: at(s),
        sure: true,
      });
    }
  }
  faults.push(...doubled(source, file), ...addressing(value, at), ...swarm(source, value, at));
  return faults;
}

const topLevel = (value: JsonSettings): readonly Setting[] => value.settings.filter((s) => !s.path.includes('.'));

/** dockerd refuses a setting that stands both in the file and on its command line. */
function doubled(source: Source<Kinds>, file: Fact<'daemonJson'>): Fault[] {
  const args = source.get('dockerdArgs');
  const unit = source.get('dockerUnit');
  const faults: Fault[] = [];
  for (const s of topLevel(file.value)) {
    const names = s.path === 'hosts' ? ['H', 'host'] : [s.path, s.path.replace(/s$/, '')];
    let other: { fact: Fact<FactKind>; span: Span } | undefined;
    if (!unit.missing) {
      const start = unit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
      const word = names.find((n) =>
        new RegExp(`(^|\\s)-{1,2}${n.replace(/[^\w-]/g, '')}([=\\s]|$)`).test(start?.value ?? ''),
      );
      if (start !== undefined && word !== undefined) other = { fact: unit as Fact<FactKind>, span: start };
    } else if (!args.missing) {
      const f = flag(args.value, ...names);
      if (f !== undefined) other = { fact: args as Fact<FactKind>, span: f };
    }
    // lists that merge: only flags that dockerd treats as one setting conflict
    if (other !== undefined && !/^(label|storage-opt|log-opt|runtime)s?$/.test(s.path)) {
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

function addressing(value: JsonSettings, at: (...spans: Span[]) => Fault['at']): Fault[] {
  const faults: Fault[] = [];
  const bip = setting(value, 'bip');
  const net = typeof bip?.value === 'string' ? bip.value : undefined;
  if (bip !== undefined && net !== undefined) {
    const prefix = net.includes('/') ? parsePrefix(net) : null;
    const ip = parseIp(net.split('/')[0] ?? '');
    if (prefix === null || ip === null)
      faults.push({ key: 'bip', reason: `"bip" ${net} is no address with a prefix length`, at: at(bip), sure: true });
    else if (prefix.length < 31 && ip.value === prefix.base)
      faults.push({
        key: 'bip',
        reason: `"bip" ${net} is a network's own address, not a host's`,
        at: at(bip),
        sure: true,
      });
  }
  const driver = elements(value, 'exec-opts').find(
    (e) => typeof e.value === 'string' && /^native\.cgroupdriver=(?!systemd$|cgroupfs$)/.test(e.value),
  );
  if (driver !== undefined)
    faults.push({
      key: 'cgroupdriver',
      reason: `${String(driver.value)} names no cgroup driver`,
      at: at(driver),
      sure: true,
    });
  return faults;
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
