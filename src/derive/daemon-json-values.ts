import type { JsonSettings, Setting } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { KNOWN_KEYS, REMOVED_DRIVERS, STORAGE_DRIVERS, STORAGE_OPTIONS } from './daemon-json-keys.ts';
import { textOf } from './daemon-json-names.ts';
import { elements, setting } from './settings.ts';

/** Values of the right type that dockerd refuses all the same; each was measured on dockerd 20.10.24. `bare`: it has no default bridge. */
export function daemonJsonValueFaults(value: JsonSettings, at: At, major: number | null, bare: boolean): Fault[] {
  const faults: Fault[] = [];
  const refuse = (key: string, s: Setting, reason: string) => faults.push({ key, reason, at: at(s), sure: true });
  const driven = elements(value, 'exec-opts').find((e) => DRIVER.test(`${e.value}`));
  const choice = DRIVER.exec(`${driven?.value}`)?.[1]?.trim() ?? '';
  // the first one counts
  if (driven !== undefined && !/^(systemd|cgroupfs|)$/.test(choice))
    refuse('cgroupdriver', driven, `${driven.value} names no cgroup driver`);
  const parent = setting(value, 'cgroup-parent');
  if (choice === 'systemd' && typeof parent?.value === 'string' && parent.value !== '' && !SLICE.test(parent.value))
    refuse(
      'cgroup-parent',
      parent,
      `"cgroup-parent" ${parent.value} is no slice, which the cgroup driver systemd needs`,
    );
  const labels = elements(value, 'labels').flatMap((e) => (textOf(e) === null ? [] : [{ e, label: textOf(e) ?? '' }]));
  for (const { e, label } of labels) {
    const key = label.split('=')[0] ?? '';
    if (!label.includes('=')) refuse('label', e, `label "${label}" is not key=value`);
    else if (major !== null && major >= 20 && /^(com\.docker|io\.docker|org\.dockerproject)\./.test(key))
      refuse('label', e, `label "${label}" is in a namespace that is reserved for Docker`);
    const twin = labels.find((o) => o.label !== label && o.label.split('=')[0] === key);
    if (twin !== undefined && twin.e.path < e.path)
      refuse('label', e, `label "${key}" stands twice with different values`);
  }
  for (const s of value.settings) {
    if (typeof s.value !== 'number' || !isWhole(s.path)) continue;
    const limit = s.path === 'max-download-attempts' ? 1 : NOT_NEGATIVE.has(s.path) ? 0 : null;
    // nothing has the MTU of the default bridge where there is none
    const least = bare && s.path === 'mtu' ? null : limit;
    if (!isInt64(s.written ?? `${s.value}`) || (least !== null && s.value < least)) {
      const from = least === null ? '' : ` from ${least}`;
      refuse(`number ${s.path}`, s, `"${s.path}" must be a whole number${from}, it is ${s.written ?? s.value}`);
    }
  }
  for (const e of elements(value, 'node-generic-resources')) {
    const resource = textOf(e);
    if (resource !== null && !/^[^=,]*=(?!-\d)[^=,]*$/.test(resource))
      refuse('resource', e, `generic resource "${resource}" is not name=value`);
  }
  const size = setting(value, 'default-shm-size');
  if (size?.type === 'null') refuse('value default-shm-size', size, '"default-shm-size" must not be null');
  if (major !== null && major < 23) faults.push(...collectorFaults(value, at));
  for (const [name, pattern] of PATTERNS) {
    const s = setting(value, name);
    if (typeof s?.value === 'string' && (s.value !== '' || name === 'default-shm-size') && !pattern.test(s.value))
      refuse(`value ${name}`, s, `"${name}" must not be "${s.value}"`);
  }
  const reserved = setting(value, 'runtimes.runc');
  if (reserved !== undefined) refuse('runtime runc', reserved, 'the runtime name "runc" is reserved');
  const runtime = setting(value, 'default-runtime');
  if (typeof runtime?.value === 'string' && !knownRuntime(value, runtime.value, major))
    faults.push({
      key: 'default-runtime',
      reason: `the default runtime "${runtime.value}" is not among the file's runtimes (--add-runtime may name it)`,
      at: at(runtime),
      sure: false,
      severity: 'medium',
    });
  const driver = setting(value, 'storage-driver');
  const removed = typeof driver?.value === 'string' ? REMOVED_DRIVERS.get(driver.value) : undefined;
  if (driver !== undefined && removed !== undefined && major !== null && major >= removed)
    refuse(
      'storage-driver',
      driver,
      `Docker ${removed} removed the storage driver "${String(driver.value)}", this is ${major}`,
    );
  const name = typeof driver?.value === 'string' ? driver.value : '';
  if (
    driver !== undefined &&
    name !== '' &&
    major !== null &&
    major < 23 &&
    !STORAGE_DRIVERS.has(name) &&
    !/[/:]/.test(name)
  )
    refuse('storage-driver', driver, `"${name}" is no storage driver of Docker ${major}`);
  const options = STORAGE_OPTIONS.get(name);
  for (const e of elements(value, 'storage-opts')) {
    const option = textOf(e);
    if (option === null) continue;
    if (!option.includes('=')) refuse(`storage-opt ${e.path}`, e, `storage option "${option}" is not key=value`);
    else if (major !== null && major < 29 && options?.test(option.split('=')[0]?.trim().toLowerCase() ?? '') === false)
      refuse(`storage-opt ${e.path}`, e, `storage option "${option}" is not one of ${name}`);
  }
  return faults;
}

/** Sizes and filters of the builder's garbage collector. */
function collectorFaults(value: JsonSettings, at: At): Fault[] {
  const off = value.settings.some((s) => /^builder\.gc\.enabled$/i.test(s.path) && s.value === false);
  return value.settings.flatMap((s): Fault[] => {
    if (typeof s.value !== 'string') return [];
    const size = /^builder\.gc\.(defaultKeepStorage|policy\.\d+\.keepStorage)$/i.test(s.path);
    const filter = /^builder\.gc\.policy\.\d+\.filter\.\d+$/i.test(s.path);
    const wrong = (size && !off && s.value !== '' && !SIZE.test(s.value)) || (filter && !s.value.includes('='));
    const reason = `"${s.path}" must be ${size ? 'a size' : 'key=value'}, it is "${s.value}"`;
    return wrong ? [{ key: `builder ${s.path}`, reason, at: at(s), sure: true }] : [];
  });
}

/** runc, containerd's shims (io.containerd..., all of them from 23 on), or one of the file's own. */
function knownRuntime(value: JsonSettings, name: string, major: number | null): boolean {
  const stock =
    major !== null && major < 23 ? /^(runc|io\.containerd\.(runc\.v2|runtime\.v1\.linux)|)$/ : /^(runc|io\..*|)$/;
  return stock.test(name) || setting(value, `runtimes.${name}`) !== undefined;
}

const DRIVER = /^\s*native\.cgroupdriver\s*=(.*)$/is;
/** docker/docker's own check: the name ends so. */
const SLICE = /\.slice$/;

const isWhole = (path: string) =>
  KNOWN_KEYS.get(path) === 'number' ||
  /^default-address-pools\.\d+\.size$/i.test(path) ||
  /^default-ulimits\.[^.]+\.(hard|soft)$/i.test(path);

/** As Go reads an integer: no point, no exponent, 64 bits. */
function isInt64(written: string): boolean {
  if (!/^-?\d{1,19}$/.test(written)) return false;
  const n = BigInt(written);
  return n >= -(2n ** 63n) && n < 2n ** 63n;
}

const NOT_NEGATIVE = new Set(['max-concurrent-downloads', 'max-concurrent-uploads', 'mtu']);

/** As go-units reads one. */
export const SIZE = /^\d+(\.\d+)? ?([kmgtp]i?b?|b)?$/i;

const PATTERNS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['log-level', /^(trace|debug|info|warn|warning|error|fatal|panic)$/i],
  ['default-shm-size', SIZE],
  ['default-ipc-mode', /^(private|shareable)$/],
  ['default-cgroupns-mode', /^(private|host)$/],
];
