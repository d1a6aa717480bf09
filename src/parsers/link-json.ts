import { parseIp, parseMac } from '../core/address.ts';
import type { InterfaceAddress, LinkDevice, Links } from '../facts/index.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { type JsonRecord, readRecords, skipRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { dadOf, detailsOfRecord, portOfRecord } from './link-details.ts';

/** `ip -j addr`, `ip -d -s -j link`. Only here a veth's peer is told for certain: `link_index` with `link_netnsid`. */
export function readLinkJson(text: string): Parsed<Links> {
  const read = readRecords(text);
  if (typeof read === 'string') return { ok: false, why: read };
  const skipped: Skipped[] = [...read.skipped];
  const devices: LinkDevice[] = [];
  for (const record of read.records) {
    const device = deviceOf(record, skipped);
    if (device === null) skipRecord(skipped, record, 'no ifindex or ifname');
    else devices.push(device);
  }
  if (devices.length === 0) return { ok: false, why: 'no device, and there is always lo' };
  return { ok: true, value: { devices }, skipped };
}

function deviceOf(record: JsonRecord, skipped: Skipped[]): LinkDevice | null {
  const [ifindex, name] = [record.number('ifindex'), record.text('ifname')];
  if (ifindex === undefined || name === undefined) return null;
  const info = record.record('linkinfo');
  const kind = info?.text('info_kind');
  const slave = info?.text('info_slave_kind') === 'bridge' ? info.record('info_slave_data') : undefined;
  const addresses: InterfaceAddress[] = [];
  for (const entry of record.records('addr_info')) {
    const address = addressOf(entry);
    if (address === null) skipped.push({ line: entry.span.line, why: 'no address' });
    else addresses.push(address);
  }
  return present({
    ifindex,
    name,
    flags: record.texts('flags'),
    peerIfindex: record.number('link_index'),
    peerName: record.text('link'),
    linkNetnsId: record.number('link_netnsid'),
    linkNetnsName: record.text('link_netns'),
    mtu: record.number('mtu'),
    state: record.text('operstate'),
    master: record.text('master'),
    xdp: record.record('xdp') === undefined ? undefined : true,
    mac: parseMac(record.text('address') ?? '') ?? undefined,
    ...(kind === undefined ? {} : detailsOfRecord(kind, info?.record('info_data'))),
    port: slave === undefined ? undefined : portOfRecord(slave),
    addresses,
    ...record.span,
  });
}

function addressOf(entry: JsonRecord): InterfaceAddress | null {
  const address = entry.text('local');
  const ip = address === undefined ? null : parseIp(address);
  if (address === undefined || ip === null) return null;
  const bits = ip.family === 4 ? 32 : 128;
  const prefixLength = entry.number('prefixlen') ?? bits;
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > bits) return null;
  return present({
    family: ip.family,
    address,
    prefixLength,
    scope: entry.text('scope') ?? 'global',
    secondary: entry.flag('secondary') ?? false,
    label: entry.text('label'),
    peer: entry.text('address'),
    deprecated: entry.flag('deprecated') === true ? true : undefined,
    dad: ip.family === 4 ? undefined : dadOf((flag) => entry.flag(flag) === true),
    ...entry.span,
  });
}
