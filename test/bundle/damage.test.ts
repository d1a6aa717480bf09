import { describe, expect, it } from 'vitest';
import type { ReadResult } from '../../src/bundle/index.ts';
import { readBundleBytes } from '../../src/bundle/index.ts';
import { bundleGz, bundleTar, FILES, sha } from '../support/tar-builder.ts';

/** Honest about itself: refused, open-world, or with a problem. */
const told = (r: ReadResult) => !r.ok || !r.bundle.complete || r.bundle.problems.length > 0;
/** No byte that was not collected counts as whole. */
function sound(r: ReadResult): boolean {
  if (!r.ok) return true;
  return r.bundle.evidence.every(
    (e) => e.status !== 'ok' || FILES[e.path] === undefined || e.sha256 === sha(FILES[e.path] as string),
  );
}
/** Everything that is read but the archive's own bytes and hash. */
function value(r: ReadResult): string {
  if (!r.ok) return r.problem.code;
  const { sha256: _, archive: __, members, ...rest } = r.bundle;
  return JSON.stringify([rest, [...members].map(([path, m]) => [path, m.sha256, sha(Buffer.from(m.bytes)), m.record])]);
}
const crashed = (r: ReadResult) => !r.ok && r.problem.code === 'reader-error';

describe.each([
  ['.tar.gz', bundleGz()],
  ['.tar', bundleTar()],
] as [string, Buffer][])('a damaged %s', (kind, whole) => {
  it('is never silent when cut, at any byte', async () => {
    const silent: number[] = [];
    for (let at = 0; at < whole.length; at++) {
      const r = await readBundleBytes(whole.subarray(0, at));
      if (!told(r) || !sound(r) || crashed(r)) silent.push(at);
    }
    expect(silent).toEqual([]);
  }, 240_000);

  it('is never silent when a flipped byte changes anything that is read', async () => {
    const honest = value(await readBundleBytes(whole));
    const silent: number[] = [];
    let harmless = 0;
    const bytes = Buffer.from(whole);
    for (let at = 0; at < bytes.length; at++) {
      const was = bytes[at] as number;
      bytes[at] = was ^ (1 << (at % 8));
      const r = await readBundleBytes(bytes);
      // a gzip header's time, another deflate match of the same text, a blank in a checksum: the same value comes out
      if (!sound(r) || crashed(r) || (!told(r) && value(r) !== honest)) silent.push(at);
      else if (!told(r)) harmless++;
      bytes[at] = was;
    }
    expect(silent).toEqual([]);
    expect(harmless).toBeLessThan(40);
  }, 240_000);

  it('still gives what can be proved', async () => {
    const r = await readBundleBytes(whole.subarray(0, whole.length - (kind === '.tar' ? 1100 : 20)));
    expect(r.ok && r.bundle.complete).toBe(false);
    expect(r.ok && r.bundle.evidence.length).toBe(3);
  });
});
