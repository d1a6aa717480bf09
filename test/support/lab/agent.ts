import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { PYTHON } from './available.ts';
import { exited, guarded } from './holder.ts';

export type Protocol = 'tcp' | 'udp' | 'icmp';

/** What came of a packet; the words of ground-truth.md in lower case, and a few that are told apart here. */
export type Outcome =
  | 'ok'
  | 'lost'
  | 'timeout'
  | 'refused'
  | 'reset'
  | 'hostunreach'
  | 'netunreach'
  | 'emsgsize'
  | 'ttlexceeded'
  | 'prohibited'
  | 'notpermitted'
  | 'invalid'
  | 'hostdown'
  | 'noaddress'
  | (string & {});

export interface WireProbe {
  readonly from: string;
  readonly to: string;
  readonly proto: Protocol;
  readonly port?: number | undefined;
  /** Payload bytes. */
  readonly size?: number | undefined;
  /** Set the don't-fragment bit (path MTU discovery on), or clear it. */
  readonly df?: boolean | undefined;
  readonly ttl?: number | undefined;
  readonly mark?: number | undefined;
  readonly source?: string | undefined;
  readonly sport?: number | undefined;
  /** Seconds; default 1.5, icmp 1. */
  readonly timeout?: number | undefined;
}

export interface ProbeResult {
  readonly outcome: Outcome;
  readonly ms: number;
  /** The source address (and port) that the server saw. */
  readonly seenSource?: string;
  readonly seenPort?: number;
  /** Who answered: behind a service address this is the endpoint. */
  readonly answeredBy?: { readonly place: string; readonly ip: string; readonly port: number };
  /** The ICMP error that ended it. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly from?: string; readonly info?: number };
}

/** The one process that owns a lab's servers and probes (agent.py). */
export class Agent {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (why: Error) => void }>();
  #next = 1;

  constructor() {
    this.#child = guarded(
      spawn(PYTHON, ['-I', '-S', '-B', new URL('agent.py', import.meta.url).pathname], { cwd: '/' }),
    );
    let err = '';
    this.#child.stderr?.on('data', (data) => {
      err += String(data);
    });
    this.#child.stdin?.on('error', () => undefined);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const answer = JSON.parse(line) as { id: number; result?: unknown; error?: string };
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.error !== undefined) waiting?.reject(new Error(answer.error));
      else waiting?.resolve(answer.result);
    });
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the lab's agent ended: ${err.trim()}`));
      this.#waiting.clear();
    });
  }

  #ask(op: string, fields: object = {}): Promise<unknown> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null)
      return Promise.reject(new Error('the lab is gone'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify({ id, op, ...fields })}\n`);
    });
  }

  async place(place: string, path: string): Promise<void> {
    await this.#ask('place', { place, path });
  }

  async serve(place: string, proto: 'tcp' | 'udp', port: number, address?: string): Promise<void> {
    await this.#ask('serve', { place, proto, port, address });
  }

  async probe(probes: readonly WireProbe[]): Promise<ProbeResult[]> {
    return (await this.#ask('probe', { probes })) as ProbeResult[];
  }

  async traceStart(): Promise<void> {
    await this.#ask('trace-start');
  }

  async traceStop(): Promise<string[]> {
    return (await this.#ask('trace-stop')) as string[];
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 2000);
    await exited(this.#child);
    clearTimeout(timer);
  }
}
