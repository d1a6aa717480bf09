import { createHash } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync, constants } from 'node:zlib';
export interface EncodedBlob { sha256: string; codec: string; size: number; bytes: Uint8Array; base?: string }
export function encodeBlob(bytes: Uint8Array, sha256?: string): EncodedBlob { const s = sha256 ?? createHash('sha256').update(bytes).digest('hex'); if (bytes.length < 200) return { sha256: s, codec: 'raw', size: bytes.length, bytes: new Uint8Array(bytes) }; return { sha256: s, codec: 'zstd', size: bytes.length, bytes: zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } }) }; }
export function decodeBlob(b: { codec: string; bytes: Uint8Array }): Uint8Array { return b.codec === 'raw' ? b.bytes : zstdDecompressSync(b.bytes); }
