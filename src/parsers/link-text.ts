import { parseIp, parseMac } from '../core/address.ts';
import type { InterfaceAddress, LinkDevice, Links } from '../facts/index.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { arity, count, readKeyed, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import { dadOf, readDetails, readPort } from './link-details.ts';

export type Writable<T> = { -readonly [K in keyof T]: T[K] };
export type OpenDevice = Writable<Omit<LinkDevice, 'addresses'>> & { addresses: Writable<InterfaceAddress>[] };

const headKeys = arity('mtu qdisc master state mode group qlen');
const linkKeys = arity('brd peer link-netns link-netnsid promiscuity allmulti minmtu maxmtu');
const addressKeys = arity('peer brd broadcast any scope metric proto flags');
const addressFlags =
  /^(secondary|temporary|dynamic|permanent|deprecated|tentative|dadfailed|nodad|optimistic|home|mngtmpaddr|noprefixroute|autojoin|stable-privacy)$/;

/**
 * `ip addr`, `ip link` with any of -d -s -4 -6 -o, and busybox's. A device's block is its head and all indented lines below it, understood
 * or not (counters, alias, vf); lines in no block are skipped. In the -o form a backslash stands for each line end.
 */
export function readLinkText(text: string): Parsed<Links> {
  const devices: OpenDevice[] = [];
  const skipped: Skipped[] = [];
  for (const { line, text: raw } of filledLines(text)) {
    const parts = /^\d/.test(raw) ? raw.split(/\\(?= {4})/) : [raw];
    for (const [i, part] of parts.entries()) {
      const words = wordsOf(part);
      const device = devices.at(-1);
      // an alias may hold anything, so it ends the reading of its line
      if (i > 0 && words[0] === 'alias') break;
      if (i === 0 && /^\d/.test(part)) {
        const next = readHead(part, words, device, line);
        if (next === null) skipped.push({ line, why: 'no device' });
        else if (next !== device) devices.push(next);
        if (next === null) break;
      } else if (device !== undefined && (i > 0 || /^\s/.test(part))) readBelow(words, device, line);
      else skipped.push({ line, why: 'not below a device' });
    }
  }
  if (devices.length === 0) return { ok: false, why: 'no device, and there is always lo' };
  return { ok: true, value: { devices: devices.map(({ below, ...device }: Below) => device) }, skipped };
}

type Below = OpenDevice & { below?: 'link' };

function readHead(part: string, words: string[], last: OpenDevice | undefined, line: number): OpenDevice | null {
  const head = /^(\d{1,10}): ([^\s:]{1,80})(:|\s)\s*(?:<([^<>]*)>)?/.exec(part);
  if (head === null) return null;
  const [, index = '', label = '', colon, flags] = head;
  const ifindex = Number(index);
  // -o -4: `2: eth0    inet 10.0.0.1/24 ...`
  if (colon !== ':') {
    if (words[2] !== 'inet' && words[2] !== 'inet6') return null;
    const device = last?.ifindex === ifindex ? last : newDevice(ifindex, label, line);
    readBelow(words.slice(2), device, line);
    return device;
  }
  if (flags === undefined) return null;
  const device = newDevice(ifindex, label, line);
  device.flags = flags.split(',').filter((f) => f !== '');
  const { values, bare } = readKeyed(words.slice(2), headKeys);
  // xdp, xdpgeneric, xdpoffload, xdpmulti
  const xdp = bare.some((word) => /^xdp[a-z]*$/.test(word)) || undefined;
  Object.assign(
    device,
    present({ mtu: count(values.get('mtu')), state: values.get('state'), master: values.get('master'), xdp }),
  );
  return device;
}

/** `eth0@if7`: peer in another namespace by number; `a@b`: by name; `@NONE`: none. */
function newDevice(ifindex: number, label: string, line: number): OpenDevice {
  const at = label.lastIndexOf('@');
  const name = at > 0 ? label.slice(0, at) : label;
  const peer = at > 0 ? label.slice(at + 1) : '';
  const device: OpenDevice = { ifindex, name, flags: [], addresses: [], line, endLine: line };
  const number = /^if(\d{1,10})$/.exec(peer);
  if (number !== null) device.peerIfindex = Number(number[1]);
  else if (peer !== '' && peer !== 'NONE') device.peerName = peer;
  return device;
}

function readBelow(words: string[], device: Below, line: number): void {
  const [first = '', second] = words;
  device.endLine = line;
  const under = device.below;
  delete device.below;
  if (first.startsWith('link/')) {
    const mac = second === undefined ? null : parseMac(second);
    const { values } = readKeyed(words.slice(1), linkKeys);
    const netns = { linkNetnsId: count(values.get('link-netnsid')), linkNetnsName: values.get('link-netns') };
    Object.assign(device, present({ mac: mac ?? undefined, ...netns }));
    device.below = 'link';
  } else if (first === 'inet' || first === 'inet6') {
    const address = readAddress(words, line);
    if (address !== null) device.addresses.push(address);
  } else if (first === 'valid_lft') {
    const address = device.addresses.at(-1);
    if (address !== undefined) address.endLine = line;
  } else if (first === 'bridge_slave') device.port = readPort(words.slice(1));
  else if (under === 'link') Object.assign(device, readDetails(words) ?? {});
}

/** `inet 192.168.57.1 peer 192.168.57.2/32 brd 192.168.57.255 scope global secondary eth0:1`. The prefix length is the peer's then. */
function readAddress(words: readonly string[], line: number): Writable<InterfaceAddress> | null {
  const { values, bare } = readKeyed(words.slice(2), addressKeys);
  const [address = '', own] = (words[1] ?? '').split('/');
  const [peer, theirs] = (values.get('peer') ?? '').split('/');
  const ip = parseIp(address);
  if (ip === null) return null;
  const bits = ip.family === 4 ? 32 : 128;
  const prefixLength = count(theirs ?? own) ?? bits;
  if (prefixLength > bits) return null;
  const label = bare.at(-1);
  return present({
    family: ip.family,
    address,
    prefixLength,
    scope: values.get('scope') ?? 'global',
    secondary: bare.includes('secondary'),
    label: ip.family === 4 && label !== undefined && !addressFlags.test(label) ? label : undefined,
    peer: peer === '' ? undefined : peer,
    deprecated: bare.includes('deprecated') ? true : undefined,
    dad: ip.family === 4 ? undefined : dadOf((flag) => bare.includes(flag)),
    line,
    endLine: line,
  });
}
