import { createHash } from 'node:crypto';
import { constants, gunzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Base } from './delta.ts';
import { applyDelta, encodeDelta } from './delta.ts';

export type BlobCodec = 'raw' | 'zstd' | 'delta' | 'slice' | 'member';

/** A blob as stored: content address of the plain bytes, and the bytes in their stored form. */
export interface EncodedBlob {
  readonly sha256: string;
  readonly codec: BlobCodec;
  /** Bytes before compression. */
  readonly size: number;
  readonly bytes: Uint8Array;
  /** sha256 of the blob that a delta, slice or member is of. */
  readonly base?: string | null;
  /** Of JSON that is read right after it was put: what `bytes` decode to. */
  readonly text?: string;
}

/** Below this a compressed blob is hardly smaller, and the call costs more than the bytes. */
const RAW_BELOW = 300;
/** No evidence file or analysis is larger; a stored size above it is a lie. */
const LARGEST = 512 * 1024 * 1024;
const LEVEL = { [constants.ZSTD_c_compressionLevel]: 1 };

/** Pure, so that worker threads compress and the writer only inserts. `sha256`: when the caller has hashed the bytes already. */
export function encodeBlob(bytes: Uint8Array, sha256 = sha256Of(bytes)): EncodedBlob {
  const size = bytes.length;
  if (size >= RAW_BELOW) {
    const packed = compress(bytes);
    if (packed.length < size) return { sha256, codec: 'zstd', size, bytes: packed };
  }
  // a copy: a view would keep the whole bundle in memory
  return { sha256, codec: 'raw', size, bytes: new Uint8Array(bytes) };
}

/** A blob told by another one, whose plain bytes `base` has; null when it is not worth it. */
export function encodeAgainst(base: Base, baseSha256: string, bytes: Uint8Array, sha256: string): EncodedBlob | null {
  const delta = encodeDelta(base, bytes);
  // evidence that cannot be read again is lost: look before it is stored
  if (delta === null || !applyDelta(base.bytes, delta, bytes.length).equals(bytes)) return null;
  const packed = compress(delta);
  const stored = new Uint8Array(4 + packed.length);
  new DataView(stored.buffer).setUint32(0, delta.length, true);
  stored.set(packed, 4);
  return { sha256, codec: 'delta', size: bytes.length, bytes: stored, base: baseSha256 };
}

/**
 * Small files compressed together, then each as a slice of that: a call of zstd for each costs more than their bytes. The pack
 * comes first.
 */
export function encodePack(files: readonly { readonly bytes: Uint8Array; readonly sha256: string }[]): EncodedBlob[] {
  const pack = encodeBlob(Buffer.concat(files.map((f) => f.bytes)));
  // one buffer for all: hundreds of four bytes each cost more to send and to collect than the files
  const places = new Uint8Array(4 * files.length);
  const view = new DataView(places.buffer);
  let at = 0;
  const slices = files.map(({ bytes, sha256 }, i): EncodedBlob => {
    view.setUint32(4 * i, at, true);
    at += bytes.length;
    const place = places.subarray(4 * i, 4 * i + 4);
    return { sha256, codec: 'slice', size: bytes.length, bytes: place, base: pack.sha256 };
  });
  return [pack, ...slices];
}

/** A file as a part of what a stored .gz expands to: the bundle's own compression is used again. */
export function encodeMember(sha256: string, size: number, at: number, gzSha256: string): EncodedBlob {
  return { sha256, codec: 'member', size, bytes: placeOf(at), base: gzSha256 };
}

function placeOf(at: number): Uint8Array {
  const place = new Uint8Array(4);
  new DataView(place.buffer).setUint32(0, at, true);
  return place;
}

function slice(base: Uint8Array, place: Uint8Array, size: number): Uint8Array {
  if (place.length !== 4) throw new Error('its place is impossible');
  const at = new DataView(place.buffer, place.byteOffset).getUint32(0, true);
  if (at + size > base.length) throw new Error('its place is impossible');
  // a copy: the pack is not held by what is read of it
  return base.slice(at, at + size);
}

function compress(bytes: Uint8Array): Uint8Array {
  // told the size, zstd takes less memory for small files; the chunk is the one buffer for the result
  const options = { params: LEVEL, chunkSize: Math.max(1024, bytes.length), pledgedSrcSize: bytes.length };
  // a copy: zlib gives a view of its chunk, and to another thread the whole chunk would go with it
  return new Uint8Array(zstdCompressSync(bytes, options));
}

/** What a base's bytes expand to. */
export function expand(gz: Uint8Array): Uint8Array {
  // the length that gzip writes at its end, as a hint: one buffer instead of many
  const hint = gz.length < 18 ? 0 : new DataView(gz.buffer, gz.byteOffset + gz.length - 4).getUint32(0, true);
  return gunzipSync(gz, { maxOutputLength: LARGEST, chunkSize: hint > 0 && hint < 2 ** 27 ? hint + 64 : 1024 * 1024 });
}

/**
 * The plain bytes; throws when they are not what `sha256` says. `readBase` gives the plain bytes of a base, expanded for a member.
 */
export function decodeBlob(
  { sha256, codec, size, bytes, base }: EncodedBlob,
  readBase: (sha256: string, expanded: boolean) => Uint8Array = () => {
    throw new Error('its base is not here');
  },
): Uint8Array {
  if (!(size <= LARGEST)) throw new Error('its size is impossible');
  const plain =
    codec === 'raw'
      ? bytes
      : codec === 'zstd'
        ? unpack(bytes, size)
        : codec === 'slice' || codec === 'member'
          ? slice(readBase(base ?? '', codec === 'member'), bytes, size)
          : applyDelta(
              readBase(base ?? '', false),
              unpack(bytes.subarray(4), Math.min(LARGEST, Buffer.from(bytes).readUInt32LE())),
              size,
            );
  if (sha256Of(plain) !== sha256) throw new Error('its bytes are not those that were stored');
  return plain;
}

const ONE_BUFFER = 32 * 1024 * 1024;

function unpack(bytes: Uint8Array, size: number): Uint8Array {
  // one buffer for the result; a bit of room, or zlib begins another to see that there is no more
  const chunkSize = Math.max(1024, Math.min(size, ONE_BUFFER) + 64);
  return zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size), chunkSize });
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
