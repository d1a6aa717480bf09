/** One 512-byte tar header, read as node-tar 7 reads it, with what node-tar keeps silent about. */
export interface TarHeader {
  readonly kind: 'zero' | 'bad' | 'header';
  readonly typeflag: string;
  /** Name field with its ustar prefix; pax and GNU long names not applied. */
  readonly name: string;
  /** Name field without its prefix. */
  readonly shortName: string;
  readonly linkname: string;
  /** Bytes; null when unreadable or negative. */
  readonly size: number | null;
  readonly mode: number;
  /** Bytes follow the NUL that ends a name; or an end block is not all zeros. */
  readonly nul: boolean;
  readonly notUtf8: boolean;
}

const none = { typeflag: '', name: '', shortName: '', linkname: '', size: 0, mode: 0, nul: false, notUtf8: false };
const zero: TarHeader = { kind: 'zero', ...none };
const bad: TarHeader = { kind: 'bad', ...none };

interface Field {
  readonly text: string;
  readonly nul: boolean;
}

function field(buf: Buffer, from: number, length: number): Field {
  let end = from;
  const to = from + length;
  while (end < to && buf[end] !== 0) end++;
  let rest = end;
  while (rest < to && buf[rest] === 0) rest++;
  return { text: buf.toString('utf8', from, end), nul: rest < to };
}

function octal(buf: Buffer, from: number, length: number): number | null {
  const text = field(buf, from, length).text.trim();
  if (text === '') return 0;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : null;
}

function size12(buf: Buffer, from: number): number | null {
  const first = buf[from] as number;
  if ((first & 0x80) === 0) return octal(buf, from, 12);
  // base-256: 0x80 positive, 0xff negative
  if (first !== 0x80) return null;
  let value = 0;
  for (let i = from + 1; i < from + 12; i++) value = value * 256 + (buf[i] as number);
  return Number.isSafeInteger(value) ? value : null;
}

/** Reads the block at `at`; the caller guarantees 512 bytes there. */
export function readHeader(buf: Buffer, at: number): TarHeader {
  let sum = 256;
  for (let i = at; i < at + 148; i++) sum += buf[i] as number;
  for (let i = at + 156; i < at + 512; i++) sum += buf[i] as number;
  const checksum = field(buf, at + 148, 8).text.trim();
  // node-tar ignores what stands in the checksum field of an end block
  if (sum === 256 && !/^[0-7]/.test(checksum))
    return buf.readBigUInt64LE(at + 148) === 0n ? zero : { ...zero, nul: true };
  if (!/^[0-7]+$/.test(checksum) || Number.parseInt(checksum, 8) !== sum) return bad;
  const flag = buf[at + 156] as number;
  const name = field(buf, at, 100);
  let nul = name.nul;
  let full = name.text;
  if (buf.toString('latin1', at + 257, at + 265) === 'ustar\u000000') {
    // star keeps times where POSIX has the end of the prefix
    const prefix = field(buf, at + 345, buf[at + 475] !== 0 ? 155 : 130);
    if (prefix.text !== '' || buf[at + 475] !== 0) full = `${prefix.text}/${full}`;
    nul ||= prefix.nul;
  }
  return {
    kind: 'header',
    typeflag: flag === 0 ? '' : String.fromCharCode(flag),
    name: full,
    shortName: name.text,
    linkname: field(buf, at + 157, 100).text,
    size: size12(buf, at + 124),
    mode: octal(buf, at + 100, 8) ?? 0,
    nul,
    notUtf8: full.includes('\ufffd'),
  };
}

/** The records of a pax header; null when they do not add up. */
export function readPax(body: Buffer): Map<string, string> | null {
  const records = new Map<string, string>();
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    if (space < 0 || space - at > 6) return null;
    const length = Number(body.toString('latin1', at, space));
    if (!Number.isInteger(length) || length < 5 || at + length > body.length || body[at + length - 1] !== 0x0a)
      return null;
    const record = body.toString('utf8', space + 1, at + length - 1);
    const equals = record.indexOf('=');
    if (equals <= 0) return null;
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

/** Types that node-tar reports as entries; it drops the others without a word. */
export const REPORTED = new Set(['0', '', '7', '5', '1', '2', '3', '4', '6', 'D']);
/** What the refused types are called in a message. */
export const KINDS: Readonly<Record<string, string>> = {
  '1': 'a hard link',
  '2': 'a symbolic link',
  '3': 'a character device',
  '4': 'a block device',
  '6': 'a FIFO',
  D: 'a GNU dump directory',
  S: 'a GNU sparse file',
};
/** pax and GNU long-name headers: about the next member. */
export const META = new Set(['x', 'X', 'g', 'L', 'K', 'N']);
