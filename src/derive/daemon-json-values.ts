import { parseIp, parsePrefix } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { JsonSettings, Setting } from '../facts/index.ts';
import type { Fault } from './daemon-json.ts';
import { REMOVED_DRIVERS } from './daemon-json-keys.ts';
import { elements, setting } from './settings.ts';

type At = (...spans: Span[]) => Fault['at'];

/** Values of the right type that dockerd refuses all the same; each was measured on dockerd 20.10.24. */
export function daemonJsonValueFaults(value: JsonSettings, at: At, major: number | null): Fault[] {
  const faults: Fault[] = [];
  const refuse = (key: string, s: Setting, reason: string) => faults.push({ key, reason, at: at(s), sure: true });
  const bip = setting(value, 'bip');
  if (typeof bip?.value === 'string' && bip.value !== '') {
    const prefix = bip.value.includes('/') ? parsePrefix(bip.value) : null;
    const ip = parseIp(bip.value.split('/')[0] ?? '');
    if (prefix === null || ip === null) refuse('bip', bip, `"bip" ${bip.value} is no address with a prefix length`);
    else if (prefix.length < 31 && ip.value === prefix.base)
      refuse('bip', bip, `"bip" ${bip.value} is a network's own address, not a host's`);
  }
  for (const e of elements(value, 'exec-opts')) {
    if (typeof e.value === 'string' && /^native\.cgroupdriver=(?!systemd$|cgroupfs$)/.test(e.value))
      refuse('cgroupdriver', e, `${e.value} names no cgroup driver`);
  }
  for (const s of [...elements(value, 'dns'), setting(value, 'ip')]) {
    if (typeof s?.value === 'string' && s.value !== '' && parseIp(s.value) === null)
      refuse(`address ${s.path}`, s, `"${s.path}" ${s.value} is no IP address`);
  }
  for (const e of elements(value, 'labels')) {
    if (typeof e.value === 'string' && !/^[^=]+=/.test(e.value))
      refuse('label', e, `label "${e.value}" is not key=value`);
  }
  for (const name of ['max-concurrent-downloads', 'max-concurrent-uploads', 'max-download-attempts', 'mtu']) {
    const s = setting(value, name);
    if (typeof s?.value === 'number' && (s.value < 0 || !Number.isInteger(s.value)))
      refuse(`number ${name}`, s, `"${name}" must be a whole number from 0, it is ${s.value}`);
  }
  for (const e of value.settings) {
    const mirror = /^registry-mirrors\.\d+$/.test(e.path) ? String(e.value) : null;
    if (mirror !== null && !/^https?:\/\//.test(mirror))
      refuse('mirror', e, `registry mirror "${mirror}" is no http or https URL`);
  }
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
  return faults;
}

/** runc, containerd's shims (io.containerd...), or one of the file's own; names may come from the command line too, so only a bare name counts. */
function knownRuntime(value: JsonSettings, name: string): boolean {
  return /^(runc|io\..*|)$/.test(name) || value.settings.some((s) => s.path.startsWith(`runtimes.${name}`));
}
