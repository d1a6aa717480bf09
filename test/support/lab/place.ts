import { spawn } from 'node:child_process';
import { LAB_ENV } from './available.ts';

export interface Ran {
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Somewhere in a lab where commands run and packets start: the outside host, the switch, a node, a pod. */
export class Place {
  /** `outside`, `switch`, `node-a`, `node-a/pod-1`. */
  readonly id: string;
  /** First IPv4 address, null for the switch. */
  readonly ip: string | null;
  /** The network namespace, as a path the host can open. */
  readonly netns: string;
  readonly #enter: readonly string[];

  constructor(id: string, ip: string | null, netns: string, enter: readonly string[]) {
    this.id = id;
    this.ip = ip;
    this.netns = netns;
    this.#enter = enter;
  }

  /** Runs a shell command here and says how it went. */
  run(command: string, options: { input?: string; timeoutMs?: number } = {}): Promise<Ran> {
    return execute('nsenter', [...this.#enter, '--', 'sh', '-c', command], options);
  }

  /** Runs a shell command here, stops at its first failing line, throws with its stderr; its stdout. */
  async sh(command: string, options: { input?: string; timeoutMs?: number } = {}): Promise<string> {
    const ran = await this.run(`set -e\n${command}`, options);
    if (ran.rc !== 0)
      throw new Error(`${this.id}: exit ${ran.rc}: ${ran.stderr.trim()}\n${command.trim().slice(0, 2000)}`);
    return ran.stdout;
  }
}

export function execute(
  file: string,
  args: readonly string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: LAB_ENV,
      cwd: '/',
      timeout: options.timeoutMs ?? 180_000,
      killSignal: 'SIGKILL',
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => out.push(data));
    child.stderr.on('data', (data: Buffer) => err.push(data));
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ rc: code ?? 137, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}
