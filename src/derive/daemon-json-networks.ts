import { parseIp, parsePrefix as readPrefix } from '../core/address.ts';
import type { JsonSettings, Setting } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { textOf } from './daemon-json-names.ts';
import { elements, setting } from './settings.ts';

const text = (s: Setting | undefined) => (typeof s?.value === 'string' && s.value !== '' ? s.value : undefined);

/** A prefix as Go reads it: no mask in its place. */
const parsePrefix = (cidr: string) => (/^[^/]*\/\d{1,3}$/.test(cidr) ? readPrefix(cidr) : null);
/** Since Go 1.17, which some builds of Docker 20.10 and all later ones are made with. */
const hasZeros = (ip: string, major: number | null) => major !== null && major >= 23 && /(^|\.)0\d/.test(ip);

/** Addresses that dockerd refuses; each was measured on dockerd 20.10.24. `bare`: it has no default bridge, and does not look at its addresses. */
export function daemonJsonNetworkFaults(value: JsonSettings, at: At, major: number | null, bare: boolean): Fault[] {
  const faults: Fault[] = [];
  const refuse = (key: string, reason: string, ...where: Setting[]) =>
    faults.push({ key, reason, at: at(...where), sure: true });
  const bip = setting(value, 'bip');
  const written = text(bip);
  const prefix = written?.includes('/') ? parsePrefix(written) : null;
  const old = major !== null && major < 28;
  if (bip !== undefined && written !== undefined && !written.startsWith('::ffff:')) {
    const ip = parseIp(written.split('/')[0] ?? '');
    const last = prefix === null ? 0 : Number(prefix.base) + 2 ** (32 - prefix.length) - 1;
    if (prefix === null || ip === null || ip.family !== 4 || hasZeros(written, major))
      refuse('bip', `"bip" ${written} is no IPv4 address with a prefix length`, bip);
    else if (prefix.length < 31 && ip.value === prefix.base)
      refuse('bip', `"bip" ${written} is a network's own address, not a host's`, bip);
    else if (prefix.length < 31 && Number(ip.value) === last)
      refuse('bip', `"bip" ${written} is a network's broadcast address, not a host's`, bip);
    else if (prefix.length === 32 || (prefix.length === 31 && old))
      refuse('bip', `"bip" ${written} is a network of ${prefix.length === 32 ? 'one address' : 'two addresses'}`, bip);
    else if (prefix.length === 0) refuse('bip', `"bip" ${written} is a network of all addresses`, bip);
  }
  for (const name of ['fixed-cidr', 'fixed-cidr-v6']) {
    const s = setting(value, name);
    const cidr = text(s);
    if (s === undefined || cidr === undefined || bare) continue;
    const range = cidr.includes('/') ? parsePrefix(cidr) : null;
    if (range === null) refuse(`address ${name}`, `"${name}" ${cidr} is no network with a prefix length`, s);
    else if (name === 'fixed-cidr' && range.family !== 4)
      refuse(`address ${name}`, `"${name}" ${cidr} is no network of IPv4`, s);
  }
  const addresses = ['ip', 'default-gateway', 'default-gateway-v6', 'host-gateway-ip'];
  for (const s of [...elements(value, 'dns'), ...addresses.map((name) => setting(value, name))]) {
    // blanks around a name server are taken off
    const ip = s?.path.startsWith('dns') ? textOf(s)?.trim() : text(s);
    if (s !== undefined && ip !== undefined && (parseIp(ip) === null || hasZeros(ip, major)))
      refuse(`address ${s.path}`, `"${s.path}" ${ip} is no IP address`, s);
  }
  const gateway = setting(value, 'default-gateway');
  const via = parseIp(text(gateway) ?? '');
  if (gateway !== undefined && via?.family === 6 && !bare)
    refuse('default-gateway', `"default-gateway" ${text(gateway)} is no address of IPv4`, gateway);
  if (bip !== undefined && gateway !== undefined && prefix !== null && via !== null && via.family === 4) {
    const host = BigInt(32 - prefix.length);
    const own = parseIp(written?.split('/')[0] ?? '');
    if (via.value >> host !== prefix.base >> host)
      refuse('default-gateway', `"default-gateway" ${text(gateway)} is outside "bip" ${written}`, gateway, bip);
    else if (via.value === own?.value && old)
      refuse(
        'default-gateway',
        `"default-gateway" ${text(gateway)} is the bridge's own address of "bip"`,
        gateway,
        bip,
      );
  }
  faults.push(...poolFaults(value, at, old && bip === undefined && !bare, major));
  const bridge = setting(value, 'bridge');
  // later ones may take both
  if (bip !== undefined && bridge !== undefined && written !== undefined && text(bridge) !== undefined)
    if (major !== null && major < 28) refuse('bridge-and-bip', '"bridge" and "bip" exclude each other', bridge, bip);
  return faults;
}

/** `first`: docker0 gets its network from the first pool. */
function poolFaults(value: JsonSettings, at: At, first: boolean, major: number | null): Fault[] {
  return value.settings.flatMap((pool): Fault[] => {
    if (!/^default-address-pools\.\d+$/.test(pool.path) || pool.type !== 'object') return [];
    // names in any case
    const inside = (name: string) => value.settings.findLast((s) => s.path.toLowerCase() === `${pool.path}.${name}`);
    const base = inside('base');
    const size = inside('size');
    const cidr = text(base) ?? '';
    const prefix = cidr.includes('/') ? parsePrefix(cidr) : null;
    const length = size?.type === 'number' ? Number(size.value) : size === undefined ? 0 : null;
    const refuse = (reason: string, s: Setting) => [{ key: `pool ${pool.path}`, reason, at: at(s), sure: true }];
    if ((base === undefined || base.type === 'string' || base.type === 'null') && prefix === null)
      return refuse(`the address pool's base "${cidr}" is no network with a prefix length`, base ?? pool);
    if (prefix === null || length === null) return [];
    const measured = major !== null && major < 23;
    if (first && measured && pool.path.endsWith('.0') && prefix.family === 6)
      return refuse('docker0 gets its network from the first address pool, and that is of IPv6', base ?? pool);
    if (measured && length - prefix.length >= 32 && prefix.family === 6)
      return refuse(`the address pool ${cidr} is too many networks of /${length} for its memory`, size ?? pool);
    if (first && pool.path.endsWith('.0') && prefix.family === 4 && (length === 31 || length === 32))
      return refuse(`networks of /${length} have no address for docker0’s containers`, size ?? pool);
    if (length < prefix.length || (prefix.family === 4 && length > 32))
      return refuse(
        `networks of /${length} do not fit into the address pool ${cidr}${length === 0 ? ' ("size" is missing)' : ''}`,
        size ?? pool,
      );
    return [];
  });
}
