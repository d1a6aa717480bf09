import type { TarHeader } from './header.ts';
import { KINDS, META, REPORTED, readHeader, readPax } from './header.ts';
import type { Limits, Problems } from './model.ts';
import { formatBytes, Refusal } from './model.ts';
import { checkName, displayName } from './names.ts';

/** One member that is no pax or GNU header, in archive order. */
export interface RefereeEntry {
  /** As node-tar must report it. */
  readonly rawName: string;
  readonly size: number;
  /** node-tar reports it (types 0, old, 7, 5, links, devices, FIFO, D); other types it drops. */
  readonly reported: boolean;
  /** Safe path when its bytes may be used; null for folders and refused members. */
  readonly path: string | null;
}

const ZEROS = Buffer.alloc(64 * 1024);

type State = 'header' | 'body' | 'meta' | 'end';

/**
 * Walks the headers of a tar, chunk by chunk, before any parser makes objects of them: enforces the limits (throws
 * Refusal) and notes what node-tar drops silently. `entries` is what node-tar has to confirm.
 */
export class Referee {
  readonly entries: RefereeEntry[] = [];
  readonly #limits: Limits;
  readonly #problems: Problems;
  #state: State = 'header';
  #position = 0;
  #headers = 0;
  #declared = 0;
  #carry: Buffer | null = null;
  #left = 0;
  #padding = 0;
  #paddingDirty = 0;
  #nullSeen = false;
  #badRun = 0;
  #trailing = 0;
  #metaFlag = '';
  #metaSize = 0;
  #metaParts: Buffer[] = [];
  #longName: string | null = null;
  #why: { code: string; why: string } | null = null;

  constructor(limits: Limits, problems: Problems) {
    this.#limits = limits;
    this.#problems = problems;
  }

  /** The end-of-archive marker was seen. */
  get ended(): boolean {
    return this.#state === 'end';
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'header') at += this.#takeHeader(chunk, at);
      else if (this.#state === 'end') {
        this.#checkTrailing(chunk.subarray(at));
        at = chunk.length;
      } else at += this.#takeBody(chunk, at);
    }
    this.#position += chunk.length;
  }

  /** After the last chunk. `cut`: the archive ends before its end-of-archive marker. */
  finish(): { readonly cut: boolean; readonly cutEntry: RefereeEntry | null } {
    this.#closeBadRun();
    const cut = this.#state !== 'end';
    const inBody = this.#state === 'body' && this.#left + this.#padding > 0;
    if (this.#paddingDirty > 0)
      this.#problems.add(
        'low',
        'padding-not-zero',
        `Fill bytes or end blocks (${this.#paddingDirty}) are not zero: the archive was altered or carries hidden data; collect it again if hashes disagree too.`,
      );
    if (this.#trailing > 0)
      this.#problems.add(
        'medium',
        'trailing-data',
        `${formatBytes(this.#trailing)} follow the end-of-archive marker and were not read: a second archive was appended; ask for the original file.`,
      );
    else if (!cut && this.#position % 512 !== 0)
      this.#problems.add('info', 'odd-length', 'The tar does not end on a 512-byte block: its last bytes are missing.');
    return { cut, cutEntry: inBody ? (this.entries.at(-1) ?? null) : null };
  }

  #takeHeader(chunk: Buffer, at: number): number {
    if (this.#carry === null && chunk.length - at >= 512) {
      this.#header(chunk, at);
      return 512;
    }
    const have = this.#carry?.length ?? 0;
    const piece = chunk.subarray(at, at + 512 - have);
    const block: Buffer = this.#carry === null ? Buffer.from(piece) : Buffer.concat([this.#carry, piece]);
    this.#carry = block.length === 512 ? null : block;
    if (block.length === 512) this.#header(block, 0);
    return piece.length;
  }

  #takeBody(chunk: Buffer, at: number): number {
    const data = Math.min(this.#left, chunk.length - at);
    if (this.#state === 'meta' && data > 0) this.#metaParts.push(chunk.subarray(at, at + data));
    this.#left -= data;
    let used = data;
    if (this.#left === 0) {
      const fill = Math.min(this.#padding, chunk.length - at - used);
      const bytes = chunk.subarray(at + used, at + used + fill);
      if (fill > 0 && !bytes.equals(ZEROS.subarray(0, fill))) this.#paddingDirty++;
      this.#padding -= fill;
      used += fill;
      if (this.#padding === 0) {
        const meta = this.#state === 'meta';
        this.#state = 'header';
        if (meta) this.#applyMeta(Buffer.concat(this.#metaParts));
      }
    }
    return used;
  }

  #skip(state: 'body' | 'meta', size: number): void {
    this.#left = size;
    this.#padding = (512 - (size % 512)) % 512;
    this.#state = size > 0 ? state : 'header';
  }

  #header(buf: Buffer, at: number): void {
    const h = readHeader(buf, at);
    if (h.kind === 'zero') {
      this.#closeBadRun();
      if (this.#nullSeen) this.#state = 'end';
      this.#nullSeen = true;
      if (h.nul) this.#paddingDirty++;
      return;
    }
    if (this.#nullSeen && h.kind === 'header')
      this.#problems.add('low', 'lone-zero-block', `A lone zero block stands before member ${this.#headers + 1}.`);
    this.#nullSeen = false;
    if (++this.#headers > this.#limits.members)
      throw new Refusal(
        'too-many-members',
        `The archive has more than ${this.#limits.members} members; no netcase bundle has. Ask for the original bundle, or raise the limit if you trust the sender.`,
      );
    if (h.kind === 'bad') {
      this.#badRun++;
      return;
    }
    this.#closeBadRun();
    if (h.size === null)
      throw new Refusal(
        'bad-size',
        `Member "${displayName(h.name)}" has an unreadable or negative size; the archive is damaged or forged.`,
      );
    if (META.has(h.typeflag)) this.#meta(h.typeflag, h.size, h.shortName);
    else this.#entry(h, h.size);
  }

  #meta(flag: string, size: number, name: string): void {
    if (size > this.#limits.meta)
      throw new Refusal(
        'meta-too-large',
        `An extended header ("${displayName(name)}") is ${formatBytes(size)} long, over the limit of ${formatBytes(this.#limits.meta)}; no honest archiver writes that.`,
      );
    if (name === '') return;
    this.#metaFlag = flag;
    this.#metaSize = size;
    this.#metaParts = [];
    this.#skip('meta', size);
  }

  #applyMeta(body: Buffer): void {
    this.#metaParts = [];
    const flag = this.#metaFlag;
    if (flag === 'L' || flag === 'N' || flag === 'K') {
      const text = body.toString('utf8');
      const nul = text.indexOf('\0');
      const name = nul < 0 ? text : text.slice(0, nul);
      if (nul >= 0 && /[^\0]/.test(text.slice(nul)))
        this.#why = { code: 'name-nul', why: 'bytes after a NUL in its name' };
      if (flag !== 'K') this.#longName = name;
      return;
    }
    const pax = readPax(body);
    if (pax === null)
      throw new Refusal(
        'bad-pax',
        `A pax header of ${formatBytes(this.#metaSize)} does not add up; two programs would read different names.`,
      );
    const global = flag === 'g';
    for (const [key, value] of pax) {
      if (key === 'size' || (global && (key === 'path' || key === 'linkpath')))
        throw new Refusal(
          'pax-override',
          `A pax header sets "${key}" for the members after it; two programs would read different files.`,
        );
      if (key === 'path') {
        this.#longName = value;
        if (value.includes('\0')) this.#why = { code: 'name-nul', why: 'a NUL in its pax name' };
      }
      if (key.startsWith('GNU.sparse.')) this.#why = { code: 'type-refused', why: 'it is a sparse file' };
    }
  }

  #entry(h: TarHeader, size: number): void {
    const { typeflag } = h;
    const link = typeflag === '1' || typeflag === '2';
    const rawName = this.#longName ?? h.name;
    // node-tar drops these headers but reads their data as headers: never let it
    if (rawName === '' || (h.linkname !== '') !== link)
      throw new Refusal(
        'bad-header',
        `Member "${displayName(rawName)}" has ${rawName === '' ? 'no name' : link ? 'no link target' : 'a link target though it is no link'}; the archive is forged or damaged.`,
      );
    const folder = typeflag === '5' || (typeflag === '0' && (this.#longName ?? h.shortName).endsWith('/'));
    if (folder && size > 0)
      throw new Refusal(
        'bad-header',
        `Folder "${displayName(rawName)}" claims ${formatBytes(size)} of data; two programs would read different members.`,
      );
    this.#limit(rawName, size);
    let why = h.nul && this.#longName === null ? { code: 'name-nul', why: 'bytes after a NUL in its name' } : this.#why;
    this.#longName = null;
    this.#why = null;
    const name = checkName(rawName, this.#limits);
    if (!name.ok) why ??= { code: name.code, why: name.why };
    if (!folder && !['0', '', '7'].includes(typeflag)) {
      const kind = KINDS[typeflag] ?? `of tar type "${displayName(typeflag)}"`;
      const to = link ? ` to "${displayName(h.linkname)}"` : '';
      why = { code: link ? 'link-refused' : 'type-refused', why: `it is ${kind}${to}` };
    }
    if (why !== null) this.#refused(rawName, why);
    else if (h.notUtf8)
      this.#problems.add(
        'low',
        'name-not-utf8',
        `The name of member "${displayName(rawName)}" is not UTF-8; it is read with replacement characters.`,
      );
    if ((h.mode & 0o6000) !== 0)
      this.#problems.add(
        'low',
        'setuid',
        `Member "${displayName(rawName)}" is marked setuid or setgid; nothing is extracted, so it does no harm here.`,
      );
    const path = why === null && name.ok && !folder && name.path !== '' ? name.path : null;
    this.entries.push({ rawName, size: folder ? 0 : size, reported: REPORTED.has(typeflag), path });
    this.#skip('body', folder ? 0 : size);
  }

  #limit(name: string, size: number): void {
    const { member, expanded } = this.#limits;
    if (size > member)
      throw new Refusal(
        'member-too-large',
        `Member "${displayName(name)}" is ${formatBytes(size)} long, over the limit of ${formatBytes(member)} for one member.`,
      );
    this.#declared += size;
    if (this.#declared > expanded)
      throw new Refusal(
        'too-large',
        `The members together are over ${formatBytes(expanded)}; collect without --full, or raise the limit if you trust the sender.`,
      );
  }

  #refused(rawName: string, { code, why }: { code: string; why: string }): void {
    const reason = code.startsWith('name-') ? `it has ${why}` : why;
    this.#problems.add(
      'high',
      code,
      `Member "${displayName(rawName)}" was refused: ${reason}. The collector writes no such member; treat the bundle as tampered with.`,
      { path: displayName(rawName) },
    );
  }

  #closeBadRun(): void {
    if (this.#badRun === 0) return;
    this.#problems.add(
      'high',
      'bad-header-checksum',
      `${this.#badRun} block(s) where a member header belongs fail their checksum: at least one member is lost; ask for the original file.`,
    );
    this.#badRun = 0;
  }

  #checkTrailing(rest: Buffer): void {
    for (let at = 0; at < rest.length; at += ZEROS.length) {
      const piece = rest.subarray(at, at + ZEROS.length);
      if (!piece.equals(ZEROS.subarray(0, piece.length))) this.#trailing += piece.length;
    }
  }
}
