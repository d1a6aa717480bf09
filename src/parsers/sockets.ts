import { parseIp } from '../core/address.ts';
import type { Sockets } from '../facts/index.ts';
import { defineParser, type Parsed, type Skipped } from '../facts/parser.ts';
import { present } from './json-value.ts';
import { count, onOff, wordsOf } from './keyed-words.ts';
import { filledLines } from './line-index.ts';

type Listener = Sockets['listeners'][number];

const titles = /^(Netid\s+State\s|State\s+Recv-Q\s|Proto\s+Recv-Q\s|Active Internet connections)/;

/**
 * `ss -lntup` with or without title, -e or -H, and `netstat -tulpn`. Sockets that do not listen are skipped. Old ss prints `:::22` for IPv6 and
 * `*:22` for IPv4; since 4.14 a `*` is IPv6 that takes IPv4 too.
 */
function readSockets(text: string): Parsed<Sockets> {
  const listeners: Listener[] = [];
  const skipped: Skipped[] = [];
  const old = /^(?:(?:tcp|udp)[ \t]+)?(?:LISTEN|UNCONN)[ \t]+\d+[ \t]+\d+[ \t]+:::/m.test(text);
  for (const { line, text: raw } of filledLines(text)) {
    if (titles.test(raw)) continue;
    const words = wordsOf(raw);
    // `ss -lnt` and `ss -lnu` leave the first column out
    if (words[0] === 'LISTEN') words.unshift('tcp');
    else if (words[0] === 'UNCONN') words.unshift('udp');
    const listener = /^\d+$/.test(words[1] ?? '') ? netstatRow(words, line) : ssRow(raw, words, old, line);
    if (typeof listener === 'string') skipped.push({ line, why: listener });
    else listeners.push(listener);
  }
  if (listeners.length === 0 && skipped.length > 0 && skipped.every((s) => s.why === noSocket))
    return { ok: false, why: noSocket };
  return { ok: true, value: { listeners }, skipped };
}

const noSocket = 'no socket of TCP or UDP';

/** `tcp LISTEN 0 5 [::]:8080 [::]:* users:(("a",pid=1,fd=3)) ino:1 sk:1 v6only:1 <->` */
function ssRow(raw: string, words: readonly string[], old: boolean, line: number): Listener | string {
  const [proto, state, , , local = ''] = words;
  if ((proto !== 'tcp' && proto !== 'udp') || words.length < 6) return noSocket;
  if (state !== 'LISTEN' && state !== 'UNCONN') return 'not listening';
  const place = localOf(local, old ? '0.0.0.0' : '::');
  if (place === null) return 'no local address';
  const rest = words.slice(6);
  const v6only = onOff(rest.find((w) => /^v6only:[01]$/.test(w))?.slice(7));
  const listener: Listener = { proto, ...place, processes: usersOf(raw), line };
  return v6only === undefined ? listener : { ...listener, v6only };
}

/** `users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))`; before 3.19 without pid= and fd=. */
function usersOf(raw: string): Listener['processes'] {
  const at = raw.indexOf('users:((');
  const found = new Map<string, { name: string; pid: number }>();
  if (at >= 0)
    for (const [, name = '', pid = ''] of raw.slice(at).matchAll(/\("([^"]*)",(?:pid=)?(\d{1,10}),(?:fd=)?\d+\)/g))
      found.set(`${pid} ${name}`, { name, pid: Number(pid) });
  return [...found.values()];
}

/** `tcp6 0 0 :::8080 :::* LISTEN 15706/python3`; -e puts user and inode between. */
function netstatRow(words: readonly string[], line: number): Listener | string {
  const proto = /^(tcp|udp)6?$/.exec(words[0] ?? '')?.[1];
  if ((proto !== 'tcp' && proto !== 'udp') || words.length < 5) return noSocket;
  const foreign = words[4]!;
  if (proto === 'tcp' ? words[5] !== 'LISTEN' : !foreign.endsWith(':*')) return 'not listening';
  const place = localOf(words[3]!, words[0]!.endsWith('6') ? '::' : '0.0.0.0');
  if (place === null) return 'no local address';
  const at = words.findIndex((w, i) => i > 4 && /^\d{1,10}\/./.test(w));
  const [pid = '', name = ''] = at < 0 ? [] : split(words.slice(at).join(' '), '/');
  return { proto, ...place, processes: at < 0 ? [] : [{ name, pid: Number(pid) }], line };
}

function split(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** `[fe80::1]%eth0:546`, `0.0.0.0%eth0:68`, `:::22`, `*:8081` -> address, device, port. */
function localOf(text: string, star: string): Pick<Listener, 'family' | 'address' | 'port'> | null {
  const colon = text.lastIndexOf(':');
  const port = count(text.slice(colon + 1));
  if (colon < 0 || port === undefined || port > 65535) return null;
  const [host = '', dev] = text.slice(0, colon).split('%', 2);
  const bare = host.replace(/^\[/, '').replace(/\]$/, '');
  const address = bare === '*' ? star : bare;
  const ip = parseIp(address);
  return ip === null ? null : present({ family: ip.family, address, port, dev: dev?.replace(/\]$/, '') });
}

export const parsers = [
  defineParser({ fact: 'sockets', evidence: ['sock.ss-listen'], version: 1, parse: readSockets }),
  defineParser({ fact: 'netnsSockets', evidence: ['netns.ss-listen'], version: 1, parse: readSockets }),
];
