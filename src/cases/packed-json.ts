import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

/** Digests name every peer of a node, so that they are most of a large case when they are not compressed. */
const WORTH_PACKING = 1024;
const LEVEL = { [constants.ZSTD_c_compressionLevel]: 1 };
const LARGEST = 512 * 1024 * 1024;
/** No JSON starts like this. */
const ZSTD = 0xfd2fb528;

/** A value as JSON, compressed when that is worth it. */
export function packJson(value: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(value) ?? 'null');
  if (json.length < WORTH_PACKING) return new Uint8Array(json);
  // told the size, zstd takes less memory; a copy: zlib gives a view of a larger chunk
  const options = { params: LEVEL, pledgedSrcSize: json.length, chunkSize: json.length };
  return new Uint8Array(zstdCompressSync(json, options));
}

export function unpackJson(bytes: Uint8Array): unknown {
  const stored = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packed = stored.length >= 4 && stored.readUInt32LE(0) === ZSTD;
  return JSON.parse((packed ? zstdDecompressSync(stored, { maxOutputLength: LARGEST }) : stored).toString());
}
