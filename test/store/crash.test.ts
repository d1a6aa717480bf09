import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openCase } from '../../src/store/index.ts';
import { clock, folder } from './samples.ts';

const writer = join(import.meta.dirname, 'writer.ts');
type Line = readonly [seq: number, key: string, sha256: string] | string;

/** Runs a writer until its end, or kills it so many milliseconds after its first acknowledgement. Gives its whole lines. */
function write(
  path: string,
  name: string,
  { killAfter, times, size }: { killAfter?: number; times?: number; size?: number } = {},
): Promise<Line[]> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [writer, path, name, String(times ?? Infinity), String(size ?? 2000)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    let armed = false;
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
      if (killAfter === undefined || armed) return;
      armed = true;
      setTimeout(() => child.kill('SIGKILL'), killAfter);
    });
    child.on('close', () =>
      resolve(
        out
          .split('\n')
          .slice(0, -1)
          .map((l) => JSON.parse(l) as Line),
      ),
    );
  });
}

/** Everything acknowledged is in the case, and the case is whole. */
function expectAll(path: string, acknowledged: readonly Line[]): number {
  const store = openCase(path, { mode: 'write', clock });
  try {
    const at = new Map([...store.events()].map((e) => [e.key, e]));
    for (const line of acknowledged) {
      expect(typeof line, String(line)).not.toBe('string');
      const [seq, key, sha256] = line as Exclude<Line, string>;
      expect(at.get(key)).toMatchObject({ seq, payload: { text: sha256 } });
      expect(at.get(`${key} first`)?.seq).toBe(seq - 1);
      expect(store.hasBlob(sha256)).toBe(true);
    }
    expect(store.verify()).toEqual([]);
    return store.head().position;
  } finally {
    store.close();
  }
}

describe('killed at any moment', () => {
  const kills = Number(process.env['NETCASE_KILLS'] ?? 40);

  it(
    `loses nothing that was acknowledged (${kills} kills)`,
    async () => {
      const path = join(folder(), 'a.netcase');
      const acknowledged: Line[] = [];
      for (let i = 0; i < kills; i += 1) {
        acknowledged.push(...(await write(path, `w${i}`, { killAfter: (i * 7) % 60 })));
        // the file as the dead process left it
        const left = join(dirname(path), 'left');
        rmSync(left, { recursive: true, force: true });
        mkdirSync(left);
        for (const f of readdirSync(dirname(path)).filter((n) => n.startsWith('a.netcase')))
          copyFileSync(join(dirname(path), f), join(left, f));
        const position = expectAll(join(left, 'a.netcase'), acknowledged);
        expect(position).toBeGreaterThanOrEqual(acknowledged.length * 2 + 1);
        expect(readdirSync(left)).toEqual(['a.netcase']);
      }
      expectAll(path, acknowledged);
      console.log(`${kills} kills: ${acknowledged.length} acknowledged, 0 lost`);
    },
    60_000 + kills * 2_000,
  );

  it('while it makes the file, leaves a case or nothing in the way of one', async () => {
    for (let i = 0; i < 12; i += 1) {
      const path = join(folder(), 'a.netcase');
      const child = spawn(process.execPath, [writer, path, 'w'], { stdio: 'ignore' });
      // from before SQLite is loaded to after the first commits
      const ended = new Promise((resolve) => child.on('close', resolve));
      await new Promise((resolve) => setTimeout(resolve, 40 + i * 12));
      child.kill('SIGKILL');
      await ended;
      const store = openCase(path, { mode: 'create', clock });
      expect(store.head().position).toBeGreaterThan(0);
      expect(store.verify()).toEqual([]);
      store.close();
    }
  });
});

describe('two processes', () => {
  it('append to one case, and none of it is lost or refused', async () => {
    const path = join(folder(), 'a.netcase');
    const lines = await Promise.all(['a', 'b', 'c'].map((name) => write(path, name, { times: 60 })));
    expect(lines.map((l) => l.length)).toEqual([60, 60, 60]);
    expect(expectAll(path, lines.flat())).toBe(1 + 3 * 60 * 2);
  });

  it('that wait too long are told who is in the way', () => {
    const path = join(folder(), 'a.netcase');
    const [one, two] = [1, 2].map(() => openCase(path, { mode: 'create', clock }));
    one?.transaction(() => {
      expect(() => two?.append({ type: 'note.added', key: 'k', payload: { text: '' } })).toThrow(
        expect.objectContaining({ code: 'locked', message: expect.stringMatching(/case locked by another netcase/) }),
      );
    });
    two?.append({ type: 'note.added', key: 'k', payload: { text: '' } });
    two?.close();
    one?.close();
    expect(readdirSync(dirname(path))).toEqual(['a.netcase']);
  });
});

describe('a full disk', () => {
  it('is said in words, and what was acknowledged stays', async ({ skip }) => {
    const mounted = folder();
    const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mounted]);
    if (mount.status !== 0) {
      if (process.env.CI) throw new Error(`this is CI, and a tmpfs cannot be mounted: ${mount.stderr}`);
      skip('this user may not mount a tmpfs');
    }
    onTestFinished(() => {
      spawnSync('umount', [mounted]);
    });
    const path = join(mounted, 'a.netcase');
    const lines = await write(path, 'w', { times: 10_000, size: 20_000 });
    const last = lines.at(-1);
    expect(last).toBe('refused io');
    const acknowledged = lines.slice(0, -1);
    expect(acknowledged.length).toBeGreaterThan(2);
    // first on the full disk, then with room again
    const reader = openCase(path, { mode: 'read', clock });
    expect(reader.head().position).toBe(1 + acknowledged.length * 2);
    reader.close();
    const home = folder();
    for (const f of readdirSync(mounted)) copyFileSync(join(mounted, f), join(home, f));
    expect(expectAll(join(home, 'a.netcase'), acknowledged)).toBe(1 + acknowledged.length * 2);
    expect(existsSync(join(home, 'a.netcase-wal'))).toBe(false);
  });
});
