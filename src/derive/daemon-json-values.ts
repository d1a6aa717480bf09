import type { JsonSettings, Setting } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { KNOWN_KEYS, REMOVED_DRIVERS, STORAGE_DRIVERS, STORAGE_OPTIONS } from './daemon-json-keys.ts';
import { elements, setting } from './settings.ts';

/** Values of the right type that dockerd refuses all the same; each was measured on dockerd 20.10.24. */
export function daemonJsonValueFaults(value: JsonSettings, at: At, major: number | null): Fault[] {
  const faults: Fault[] = [];
  const refuse = (key: string, s: Setting, reason: string) => faults.push({ key, reason, at: at(s), sure: true });
  for (const e of elements(value, 'exec-opts')) {
    if (typeof e.value === 'string' && /^native\.cgroupdriver=(?!systemd$|cgroupfs$)/.test(e.value))
      refuse('cgroupdriver', e, `${e.value} names no cgroup driver`);
  }
  for (const e of elements(value, 'dns-search')) {
    if (typeof e.value === 'string' && /[\s,;]/.test(e.value.trim()))
      refuse(`dns ${e.path}`, e, `"${e.value}" of "dns-search" is no domain`);
  }
  for (const e of elements(value, 'labels')) {
    if (typeof e.value === 'string' && !/^[^=]+=/.test(e.value))
      refuse('label', e, `label "${e.value}" is not key=value`);
    const twin = elements(value, 'labels').find((o) => o.value !== e.value && labelKey(o) === labelKey(e));
    if (twin !== undefined && twin.path < e.path)
      refuse('label', e, `label "${labelKey(e)}" stands twice with different values`);
  }
  for (const s of value.settings) {
    if (s.path.includes('.') || typeof s.value !== 'number' || KNOWN_KEYS.get(s.path) !== 'number') continue;
    const least = s.path === 'max-download-attempts' ? 1 : NOT_NEGATIVE.has(s.path) ? 0 : null;
    if (!Number.isInteger(s.value) || (least !== null && s.value < least)) {
      const from = least === null ? '' : ` from ${least}`;
      refuse(`number ${s.path}`, s, `"${s.path}" must be a whole number${from}, it is ${s.value}`);
    }
  }
  for (const e of elements(value, 'registry-mirrors')) {
    const why = typeof e.value === 'string' ? notMirror(e.value) : null;
    if (why !== null) refuse('mirror', e, `registry mirror "${String(e.value)}" ${why}`);
  }
  for (const e of elements(value, 'insecure-registries')) {
    const why = typeof e.value === 'string' ? notRegistry(e.value) : null;
    if (why !== null) refuse('registry', e, `insecure registry "${String(e.value)}" ${why}`);
  }
  for (const [name, pattern] of PATTERNS) {
    const s = setting(value, name);
    if (typeof s?.value === 'string' && s.value !== '' && !pattern.test(s.value))
      refuse(`value ${name}`, s, `"${name}" must not be "${s.value}"`);
  }
  const icc = setting(value, 'icc');
  if (icc?.value === false && setting(value, 'iptables')?.value === false)
    refuse('icc', icc, '"icc": false needs iptables, which "iptables": false forbids');
  const reserved = setting(value, 'runtimes.runc');
  if (reserved !== undefined) refuse('runtime runc', reserved, 'the runtime name "runc" is reserved');
  const runtime = setting(value, 'default-runtime');
  if (typeof runtime?.value === 'string' && !knownRuntime(value, runtime.value))
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
  for (const e of major !== null && major < 29 && STORAGE_DRIVERS.has(name) ? elements(value, 'storage-opts') : []) {
    const owner = [...STORAGE_OPTIONS].find(([, start]) => `${e.value}`.startsWith(start))?.[0];
    if (owner !== undefined && owner !== name)
      refuse(`storage-opt ${e.path}`, e, `storage option "${String(e.value)}" is not one of ${name}`);
  }
  return faults;
}

/** runc, containerd's shims (io.containerd...), or one of the file's own; names may come from the command line too, so only a bare name counts. */
function knownRuntime(value: JsonSettings, name: string): boolean {
  return /^(runc|io\..*|)$/.test(name) || value.settings.some((s) => s.path.startsWith(`runtimes.${name}`));
}

const labelKey = (label: Setting) => `${label.value}`.split('=')[0];

const NOT_NEGATIVE = new Set(['max-concurrent-downloads', 'max-concurrent-uploads', 'mtu']);

const PATTERNS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['log-level', /^(trace|debug|info|warn|warning|error|fatal|panic)$/i],
  ['default-shm-size', /^\d+(\.\d+)? ?([kmgtp]i?b?|b)?$/i],
  ['default-ipc-mode', /^(private|shareable)$/],
  ['default-cgroupns-mode', /^(private|host)$/],
];

/** Why dockerd refuses a mirror, else null. */
function notMirror(url: string): string | null {
  const parts = /^https?:\/\/([^/?#]*)(\/[^?#]*)?([?#].*)?$/i.exec(url);
  if (parts === null) return 'is no http or https URL';
  if (parts[1]?.includes('@')) return 'has a user name';
  return (parts[2] ?? '/') === '/' && parts[3] === undefined ? null : 'has more behind the host';
}

/** Why dockerd refuses an insecure registry, else null: it takes http:// off, and then wants a host, a port, or a network. */
function notRegistry(written: string): string | null {
  const host = written.replace(/^https?:\/\//i, '');
  if (host.includes('://')) return 'has another scheme';
  const port = /^[^:[\]]*:([^:]+)$/.exec(host)?.[1];
  return port === undefined || (/^\d+$/.test(port) && Number(port) <= 65535)
    ? null
    : `has no port number behind its colon`;
}
