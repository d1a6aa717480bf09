import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { Holder } from './holder.ts';
import { idleProgram } from './idle-program.ts';
import { containerId, nodeFiles, rootOf } from './node-files.ts';
import { idlePrograms, podScript, processOnNode } from './node-script.ts';
import { Place } from './place.ts';
import { type LabPlan, type NodePlan, type PodPlan, podPlan } from './spec.ts';

const COLLECTOR = new URL('../../../collectors/netcase-collect.sh', import.meta.url).pathname;

export class LabPod extends Place {
  readonly plan: PodPlan;
  readonly node: LabNode;

  constructor(node: LabNode, plan: PodPlan) {
    const netns = `/proc/${node.pid}/root/run/netns/${plan.netns}`;
    super(`${node.id}/${plan.name}`, plan.ip, netns, [`--target=${node.pid}`, '--mount', '--pid', `--net=${netns}`]);
    this.plan = plan;
    this.node = node;
  }
}

export class LabNode extends Place {
  readonly plan: NodePlan;
  readonly pods: LabPod[];
  /** Host process id of the node's first process. */
  readonly pid: number;
  readonly #lab: LabPlan;

  constructor(lab: LabPlan, plan: NodePlan, holder: Holder) {
    super(plan.name, plan.address, `/proc/${holder.pid}/ns/net`, [
      `--target=${holder.pid}`,
      '--net',
      '--mount',
      '--uts',
      '--pid',
    ]);
    this.#lab = lab;
    this.plan = plan;
    this.pid = holder.pid;
    this.pods = lab.backend === 'none' ? [] : plan.pods.map((pod) => new LabPod(this, pod));
  }

  /** A pod by name; the first one without. */
  pod(name = 'pod-1'): LabPod {
    const pod = this.pods.find((p) => p.plan.name === name);
    if (pod === undefined) throw new Error(`${this.id} has no ${name}`);
    return pod;
  }

  /** The node's file as a path on the host; /run/..., never /var/run (an absolute link leads out of the node). */
  path(file: string): string {
    return `/proc/${this.pid}/root${file}`;
  }

  read(file: string): string {
    return readFileSync(this.path(file), 'utf8');
  }

  write(file: string, content: string | Buffer, mode = 0o644): void {
    mkdirSync(dirname(this.path(file)), { recursive: true });
    writeFileSync(this.path(file), content, { mode });
  }

  remove(file: string): void {
    rmSync(this.path(file), { recursive: true, force: true });
  }

  /** Files and programs, before the network is set up. */
  prepare(): void {
    for (const [file, content] of Object.entries(nodeFiles(this.#lab, this.plan))) {
      if (content !== null) this.write(file, content);
    }
    for (const file of idlePrograms(this.#lab, this.plan)) this.#installIdle(file);
    for (const name of [
      'iptables',
      'iptables-save',
      'iptables-restore',
      'ip6tables',
      'ip6tables-save',
      'ip6tables-restore',
    ]) {
      const [family, rest] = name.split('-');
      const target = `/usr/sbin/${family}-${this.plan.iptables}${rest === undefined ? '' : `-${rest}`}`;
      const link = this.path(`/etc/alternatives/${name}`);
      if (readlinkSync(link) === target) continue;
      rmSync(link);
      symlinkSync(target, link);
    }
  }

  #installIdle(file: string): void {
    // a program that was killed a moment ago may still hold the old file busy
    rmSync(this.path(file), { force: true });
    this.write(file, idleProgram(), 0o755);
    chmodSync(this.path(file), 0o755);
  }

  /** Starts one more pod; `host` is the last octet of its address. The lab's addPod also registers it for probes. */
  async startPod(host: number): Promise<LabPod> {
    const plan = podPlan(this.plan.podPrefix, host, this.pods.length);
    this.#installIdle(`${rootOf(plan.netns)}/pause`);
    this.write(`/var/lib/cni/networks/cbr0/${plan.ip}`, `${containerId(plan.netns)}\r\neth0`);
    await this.sh(podScript(this.#lab, this.plan, plan));
    const pod = new LabPod(this, plan);
    this.pods.push(pod);
    return pod;
  }

  /** Starts a process that does nothing and looks in /proc like this program with these flags. */
  async startProcess(path: string, flags: readonly string[]): Promise<void> {
    this.#installIdle(`/opt/idle/${basename(path)}`);
    await this.sh(processOnNode(path, flags));
  }

  /** Ends the node's processes with this program name. */
  async stopProcess(name: string): Promise<void> {
    await this.sh(`for p in /proc/[0-9]*; do
  read -r comm <$p/comm 2>/dev/null || continue
  if [ "$comm" = '${name}' ]; then kill -9 "\${p#/proc/}"; fi
done`);
  }

  /** Ends and starts such a process: a daemon with other flags. */
  async restartProcess(path: string, flags: readonly string[]): Promise<void> {
    await this.stopProcess(basename(path));
    await this.startProcess(path, flags);
  }

  /** Runs the real collector on the node, as root; the bundle's path in `outDir`. */
  async collect(outDir: string, args: readonly string[] = []): Promise<string> {
    const dir = '/run/netcase';
    mkdirSync(outDir, { recursive: true });
    mkdirSync(this.path(dir), { recursive: true });
    copyFileSync(COLLECTOR, this.path(`${dir}/netcase-collect.sh`));
    const options = args.map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(' ');
    const ran = await this.run(`cd ${dir} && exec sh netcase-collect.sh -o ${dir} ${options}`, { timeoutMs: 500_000 });
    const found = /netcase_\S+?\.tar\.gz/.exec(ran.stdout);
    if (ran.rc > 1 || found === null) {
      const said = `${ran.stdout.slice(-500)}\n${ran.stderr.slice(-2000)}`;
      throw new Error(`${this.id}: the collector ended with ${ran.rc}: ${said}`);
    }
    const bundle = resolve(outDir, found[0]);
    copyFileSync(this.path(`${dir}/${found[0]}`), bundle);
    this.remove(dir);
    return bundle;
  }
}
