import { parseIp, parsePrefix } from '../core/address.ts';
import type { JsonSettings, Setting } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { elements, setting } from './settings.ts';

const text = (s: Setting | undefined) => (typeof s?.value === 'string' && s.value !== '' ? s.value : undefined);

/** Addresses that dockerd refuses; each was measured on dockerd 20.10.24. */
export function daemonJsonNetworkFaults(value: JsonSettings, at: At, major: number | null): Fault[] {
  const faults: Fault[] = [];
  const refuse = (key: string, reason: string, ...where: Setting[]) =>
    faults.push({ key, reason, at: at(...where), sure: true });
  const bip = setting(value, 'bip');
  const written = text(bip);
  const prefix = written?.includes('/') ? parsePrefix(written) : null;
  if (bip !== undefined && written !== undefined) {
    const ip = parseIp(written.split('/')[0] ?? '');
    const last = prefix === null ? 0 : Number(prefix.base) + 2 ** (32 - prefix.length) - 1;
    if (prefix === null || ip === null || ip.family !== 4)
      refuse('bip', `"bip" ${written} is no IPv4 address with a prefix length`, bip);
    else if (prefix.length < 31 && ip.value === prefix.base)
      refuse('bip', `"bip" ${written} is a network's own address, not a host's`, bip);
    else if (prefix.length < 31 && Number(ip.value) === last)
      refuse('bip', `"bip" ${written} is a network's broadcast address, not a host's`, bip);
    else if (prefix.length === 32) refuse('bip', `"bip" ${written} is a network of one address`, bip);
  }
  for (const name of ['fixed-cidr', 'fixed-cidr-v6']) {
    const s = setting(value, name);
    const cidr = text(s);
    if (s !== undefined && cidr !== undefined && (!cidr.includes('/') || parsePrefix(cidr) === null))
      refuse(`address ${name}`, `"${name}" ${cidr} is no network with a prefix length`, s);
  }
  const addresses = ['ip', 'default-gateway', 'default-gateway-v6', 'host-gateway-ip'];
  for (const s of [...elements(value, 'dns'), ...addresses.map((name) => setting(value, name))]) {
    // blanks around a name server are taken off
    const ip = s?.path.startsWith('dns') ? text(s)?.trim() : text(s);
    if (s !== undefined && ip !== undefined && parseIp(ip) === null)
      refuse(`address ${s.path}`, `"${s.path}" ${ip} is no IP address`, s);
  }
  const gateway = setting(value, 'default-gateway');
  const via = parseIp(text(gateway) ?? '');
  if (bip !== undefined && gateway !== undefined && prefix !== null && via !== null && via.family === 4) {
    const host = BigInt(32 - prefix.length);
    if (via.value >> host !== prefix.base >> host)
      refuse('default-gateway', `"default-gateway" ${text(gateway)} is outside "bip" ${written}`, gateway, bip);
  }
  faults.push(...poolFaults(value, at));
  const bridge = setting(value, 'bridge');
  // later ones may take both
  if (bip !== undefined && bridge !== undefined && written !== undefined && text(bridge) !== undefined)
    if (major !== null && major < 28) refuse('bridge-and-bip', '"bridge" and "bip" exclude each other', bridge, bip);
  return faults;
}

function poolFaults(value: JsonSettings, at: At): Fault[] {
  return value.settings.flatMap((pool): Fault[] => {
    if (!/^default-address-pools\.\d+$/.test(pool.path) || pool.type !== 'object') return [];
    const base = setting(value, `${pool.path}.base`);
    const size = setting(value, `${pool.path}.size`);
    const cidr = text(base) ?? '';
    const prefix = cidr.includes('/') ? parsePrefix(cidr) : null;
    const length = size?.type === 'number' ? Number(size.value) : size === undefined ? 0 : null;
    const refuse = (reason: string, s: Setting) => [{ key: `pool ${pool.path}`, reason, at: at(s), sure: true }];
    if (base?.type === 'string' && prefix === null)
      return refuse(`the address pool's base "${cidr}" is no network with a prefix length`, base);
    if (prefix === null || length === null) return [];
    if (length < prefix.length || (prefix.family === 4 && length > 32))
      return refuse(
        `networks of /${length} do not fit into the address pool ${cidr}${length === 0 ? ' ("size" is missing)' : ''}`,
        size ?? pool,
      );
    return [];
  });
}
