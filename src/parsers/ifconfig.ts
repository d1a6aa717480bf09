import { formatPrefix, parseIp, parseIp4, parseMac, parsePrefix } from '../core/address.ts';
import type { Links } from '../facts/index.ts';
import type { Parsed, Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { count, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';
import type { OpenDevice } from './link-text.ts';

/** net-tools 2.x `eth0: flags=4163<UP>  mtu 1500`; net-tools 1.60 and busybox `eth0      Link encap:Ethernet  HWaddr ...`. */
const newHead = /^([^\s:]{1,80})((?::\d{1,5})?): flags=-?\d+<([^<>]*)> {1,2}mtu (\d+)/;
const oldHead = /^([^\s:]{1,80})((?::\d{1,5})?)\s+Link encap:/;

export function isIfconfig(text: string): boolean {
  const first = filledLines(text.slice(0, 4096))[0]?.text ?? '';
  return newHead.test(first) || oldHead.test(first);
}

/**
 * `ifconfig -a`, both dialects. It prints no ifindex (0 here), no state, no master, and of IPv4 no scope: that is worked out. `eth0:1` is an
 * address of eth0 with a label. A device's block is its head and the indented lines below; other lines are skipped.
 */
export function readIfconfig(text: string): Parsed<Links> {
  const devices: OpenDevice[] = [];
  const skipped: Skipped[] = [];
  const subnets = new Set<string>();
  let label = '';
  for (const { line, text: raw } of filledLines(text)) {
    const head = newHead.exec(raw) ?? oldHead.exec(raw);
    const last = devices.at(-1);
    if (head === null) {
      if (last === undefined || !/^\s/.test(raw)) skipped.push({ line, why: 'not below a device' });
      else readBelow(raw, last, label, subnets, line);
      continue;
    }
    const [, name = '', suffix = '', flags, mtu] = head;
    label = name + suffix;
    const device: OpenDevice =
      suffix !== '' && last?.name === name
        ? last
        : { ifindex: 0, name, flags: (flags ?? '').split(',').filter((f) => f !== ''), addresses: [], line };
    device.endLine = line;
    if (device !== last) {
      devices.push(device);
      const mac = parseMac(/HWaddr (\S+)/.exec(raw)?.[1] ?? '');
      Object.assign(device, present({ mtu: count(mtu), mac: mac ?? undefined }));
    }
  }
  if (devices.length === 0) return { ok: false, why: 'no device' };
  return { ok: true, value: { devices }, skipped };
}

function readBelow(raw: string, device: OpenDevice, label: string, subnets: Set<string>, line: number): void {
  device.endLine = line;
  const words = wordsOf(raw);
  const after = (key: string) => (words.includes(key) ? words[words.indexOf(key) + 1] : undefined);
  const glued = (key: string) => words.find((w) => w.startsWith(key))?.slice(key.length);
  if (words[0] === 'inet') {
    const mask = parseIp4(after('netmask') ?? glued('Mask:') ?? '255.255.255.255');
    const address = glued('addr:') ?? words[1] ?? '';
    const prefix = mask === null ? null : parsePrefix(`${address}/${after('netmask') ?? glued('Mask:') ?? '32'}`);
    if (prefix === null) return;
    const subnet = `${device.name} ${formatPrefix(prefix)}`;
    device.addresses.push(
      present({
        family: 4 as const,
        address,
        prefixLength: prefix.length,
        scope: address.startsWith('127.') ? 'host' : 'global',
        secondary: subnets.has(subnet),
        label,
        peer: after('destination') ?? glued('P-t-P:'),
        line,
      }),
    );
    subnets.add(subnet);
  } else if (words[0] === 'inet6') {
    const [address = '', glue] = (words[1] === 'addr:' ? (words[2] ?? '') : (words[1] ?? '')).split('/');
    const prefixLength = count(after('prefixlen') ?? glue) ?? 128;
    if (parseIp(address)?.family !== 6 || prefixLength > 128) return;
    const scope = (glued('Scope:') ?? /<([a-z]+)>/.exec(raw)?.[1] ?? 'global').toLowerCase();
    device.addresses.push({ family: 6, address, prefixLength, scope, secondary: false, line });
  } else if (words[0] === 'ether') {
    const mac = parseMac(words[1] ?? '');
    if (mac !== null) device.mac = mac;
  } else if (words.some((w) => w.startsWith('MTU:'))) {
    const at = words.findIndex((w) => w.startsWith('MTU:'));
    const mtu = count(glued('MTU:'));
    device.flags = words.slice(0, at);
    if (mtu !== undefined) device.mtu = mtu;
  }
}
