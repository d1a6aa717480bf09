import * as crypto from 'node:crypto';

/** sha256, lower-case hex. */
export function sha256(bytes: Uint8Array | string): string {
  return crypto.hash('sha256', bytes, 'hex');
}
