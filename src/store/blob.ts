import { createHash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

export type BlobCodec = 'raw' | 'zstd';

/** A blob as stored: content address of the plain bytes, and the bytes in their stored form. */
export interface EncodedBlob {
  readonly sha256: string;
  readonly codec: BlobCodec;
  /** Bytes before compression. */
  readonly size: number;
  readonly bytes: Uint8Array;
}

/** Below this a compressed blob is hardly smaller, and the call costs more than the bytes. */
const RAW_BELOW = 300;
/** No evidence file or analysis is larger; a stored size above it is a lie. */
const LARGEST = 512 * 1024 * 1024;
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** Pure, so that worker threads compress and the writer only inserts. `sha256`: when the caller has hashed the bytes already. */
export function encodeBlob(bytes: Uint8Array, sha256 = sha256Of(bytes)): EncodedBlob {
  const size = bytes.length;
  if (size >= RAW_BELOW) {
    const packed = zstdCompressSync(bytes, OPTIONS);
    if (packed.length < size) return { sha256, codec: 'zstd', size, bytes: packed };
  }
  // a copy: a view would keep the whole bundle in memory
  return { sha256, codec: 'raw', size, bytes: new Uint8Array(bytes) };
}

/** The plain bytes; throws when they are not what `sha256` says. */
export function decodeBlob({ sha256, codec, size, bytes }: EncodedBlob): Uint8Array {
  const plain = codec === 'raw' ? bytes : unpack(bytes, size);
  if (sha256Of(plain) !== sha256) throw new Error('its bytes are not those that were stored');
  return plain;
}

function unpack(bytes: Uint8Array, size: number): Uint8Array {
  if (!(size <= LARGEST)) throw new Error('its size is impossible');
  return zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size) });
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
