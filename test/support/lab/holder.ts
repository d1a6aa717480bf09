import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { LAB_ENV } from './available.ts';

/**
 * A process that keeps namespaces alive. It reads a pipe of ours and ends at its end, so a lab cannot outlive
 * the test process, however that dies; nothing of a lab has a name on the host that could be left over.
 */
export interface Holder {
  /** Host process id of the namespaces' first process. */
  readonly pid: number;
  end(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Registers a child that must not outlive this process. */
export function guarded(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

export function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

/** Starts `unshare <flags>` around a bash that runs `setup`, read from its stdin, and then waits. */
export async function hold(flags: readonly string[], setup: string): Promise<Holder> {
  const forked = flags.includes('--fork');
  const script = `set -e\n${setup}\nset +e\necho ready\nwhile read -r _; do :; done\n`;
  const child = guarded(
    spawn('unshare', [...flags, ...(forked ? ['--kill-child=KILL'] : []), 'bash', '--norc'], {
      env: LAB_ENV,
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
    }),
  );
  child.stdin?.on('error', () => undefined);
  child.stdin?.write(script);
  await new Promise<void>((resolve, reject) => {
    let err = '';
    child.stderr?.on('data', (data) => {
      err += String(data);
    });
    child.stdout?.once('data', () => resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`a namespace did not start (${code}): ${err.trim()}`)));
  });
  const own = child.pid!;
  const pid = forked ? Number(readFileSync(`/proc/${own}/task/${own}/children`, 'utf8').trim().split(' ')[0]) : own;
  return {
    pid,
    async end() {
      child.stdin?.end();
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
      await exited(child);
      clearTimeout(timer);
    },
  };
}
