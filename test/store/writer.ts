// A child process of the crash tests: appends until it is killed, or as many times as asked, and acknowledges on stdout after each commit.
import { writeSync } from 'node:fs';
import { CaseError, encodeBlob, openCase } from '../../src/store/index.ts';

const [, , path = '', name = '', times = 'Infinity', size = '2000'] = process.argv;

/** Text that does not compress well, the same for the same name and turn. */
function bytes(turn: number): Buffer {
  let random = turn * 7919 + name.length;
  const out = Buffer.alloc(Number(size));
  for (let i = 0; i < out.length; i += 1) {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    out[i] = random >>> 24;
  }
  return out;
}

try {
  const store = openCase(path, { mode: 'create', clock: () => new Date().toISOString() });
  for (let turn = 0; turn < Number(times); turn += 1) {
    const key = `${name} ${turn} ${process.pid}`;
    const blob = encodeBlob(bytes(turn));
    const seq = store.transaction(() => {
      store.putBlobs([blob]);
      store.putNodeResult(name, 'r', String(turn), blob.bytes);
      store.append({ type: 'note.added', key: `${key} first`, payload: { text: blob.sha256 } });
      return store.append({ type: 'note.added', key, payload: { text: blob.sha256 } }).seq;
    });
    writeSync(1, `${JSON.stringify([seq, key, blob.sha256])}\n`);
    // a close checkpoints and changes the journal mode: be killed there too
    if (turn % 40 === 39 && times === 'Infinity') {
      store.close();
      process.exit(7);
    }
  }
  store.close();
} catch (error) {
  writeSync(
    1,
    `${JSON.stringify(error instanceof CaseError ? `refused ${error.code}` : `bug ${(error as Error).stack}`)}\n`,
  );
}
