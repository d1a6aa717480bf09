import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { ProbeResult } from './agent.ts';
import { Lab, type Probe } from './lab.ts';
import type { LabNode } from './node.ts';
import { execute, type Place, type Ran } from './place.ts';
import type { LabSpec } from './spec.ts';

export interface DockerLabSpec {
  readonly name?: string;
  /** Default 10.3.20.87 in 10.3.20.0/24, the outside host is .99. */
  readonly address?: string;
  readonly underlay?: string;
  readonly outside?: string;
  /** Content of /etc/docker/daemon.json. */
  readonly daemonJson?: string | object;
  /** More flags for dockerd; `-H unix:///run/docker.sock` is always given, unless one of these is -H. */
  readonly flags?: readonly string[];
  readonly iptables?: 'nft' | 'legacy';
  readonly outsideNode?: boolean;
  /** A whole cluster whose first node has the dockerd, in place of one plain host. */
  readonly cluster?: LabSpec & { readonly nodes?: number };
}

export interface ContainerSpec {
  readonly name: string;
  readonly network?: string;
  /** `9001:9000`, `127.0.0.1:53:53/udp`. */
  readonly publish?: readonly string[];
  readonly args?: readonly string[];
  /** Ports on which the container answers; default tcp/9000. */
  readonly listen?: readonly (number | `${number}/udp`)[];
}

export interface Container {
  /** A place for probes: `docker-host/NAME`. */
  readonly id: string;
  readonly name: string;
  readonly ip: string;
}

/** A node with a real dockerd, its own image, containers, networks; and an outside host that can route to it. */
export class DockerLab {
  readonly lab: Lab;
  readonly #data: string;
  readonly #cgroup: string;

  private constructor(lab: Lab, data: string, cgroup: string) {
    this.lab = lab;
    this.#data = data;
    this.#cgroup = cgroup;
  }

  static async create(spec: DockerLabSpec = {}): Promise<DockerLab> {
    await removeLeftovers();
    const data = mkdtempSync(join(tmpdir(), `nc-docker-${process.pid}-`));
    const underlay = spec.underlay ?? '10.3.20.0/24';
    const { daemonJson } = spec;
    const json = typeof daemonJson === 'object' ? `${JSON.stringify(daemonJson, null, 2)}\n` : daemonJson;
    const own = {
      binds: [{ from: data, to: '/var/lib/docker' }],
      ...(json === undefined ? {} : { files: { '/etc/docker/daemon.json': json } }),
    };
    const { cluster } = spec;
    const host = { name: spec.name ?? 'docker-host', address: spec.address ?? '10.3.20.87', ...own };
    const wanted: LabSpec =
      cluster === undefined
        ? {
            backend: 'none',
            underlay,
            outside: spec.outside ?? '10.3.20.99',
            iptables: spec.iptables ?? 'nft',
            outsideNode: spec.outsideNode ?? false,
            nodes: [host],
          }
        : { ...cluster, nodes: Array.from({ length: cluster.nodes ?? 2 }, (_, i) => (i === 0 ? own : {})) };
    let lab: Lab;
    try {
      lab = await Lab.create(wanted);
    } catch (e) {
      rmSync(data, { recursive: true, force: true });
      throw e;
    }
    const docker = new DockerLab(lab, data, basename(data));
    try {
      await docker.startDaemon(spec.flags);
      await docker.#importImage();
    } catch (e) {
      await docker.destroy();
      throw e;
    }
    return docker;
  }

  get node(): LabNode {
    return this.lab.nodes[0]!;
  }

  get outside(): Place {
    return this.lab.outside;
  }

  /** Starts dockerd and waits until it answers; its log is /run/dockerd.log on the node. */
  async startDaemon(flags: readonly string[] = []): Promise<void> {
    if (!(await this.tryDaemon(flags))) throw new Error(`dockerd did not start:\n${this.daemonLog().slice(-3000)}`);
  }

  /** As startDaemon; false when dockerd refuses to start. */
  async tryDaemon(flags: readonly string[] = []): Promise<boolean> {
    const host = flags.some((flag) => flag === '-H' || flag.startsWith('--host'))
      ? []
      : ['-H', 'unix:///run/docker.sock'];
    const quoted = [...host, ...flags].map((flag) => `'${flag}'`).join(' ');
    const ran = await this.node.run(`
dockerd --cgroup-parent=/${this.#cgroup} ${quoted} >>/run/dockerd.log 2>&1 </dev/null &
pid=$!
i=0
while [ $i -lt 600 ]; do
  if docker -H unix:///run/docker.sock version >/dev/null 2>&1; then exit 0; fi
  kill -0 $pid 2>/dev/null || exit 1
  sleep 0.05
  i=$((i + 1))
done
exit 1`);
    return ran.rc === 0;
  }

  /** Stops dockerd as an init system would; containers go on only with live-restore. */
  async stopDaemon(): Promise<void> {
    await this.node.sh(`
pid=$(cat /run/docker.pid 2>/dev/null) || exit 0
kill $pid
i=0
while kill -0 $pid 2>/dev/null && [ $i -lt 200 ]; do sleep 0.05; i=$((i + 1)); done`);
  }

  async restartDaemon(flags: readonly string[] = []): Promise<void> {
    await this.stopDaemon();
    await this.startDaemon(flags);
  }

  daemonLog(): string {
    return this.node.read('/run/dockerd.log');
  }

  /** `docker ...` on the node, its stdout. */
  docker(command: string): Promise<string> {
    return this.node.sh(`docker ${command}`);
  }

  tryDocker(command: string): Promise<Ran> {
    return this.node.run(`docker ${command}`);
  }

  async #importImage(): Promise<void> {
    await this.node.sh(`
dir=/run/busybox-image
mkdir -p $dir/bin $dir/tmp $dir/etc
cp "$(command -v busybox)" $dir/bin/busybox
for applet in sh sleep ip nc httpd wget ping; do ln -sf busybox $dir/bin/$applet; done
tar -C $dir -c . | docker import - busybox:lab >/dev/null
rm -rf $dir`);
  }

  /** Runs a container of busybox:lab that sleeps, with servers that answer with the source they saw. */
  async container(spec: ContainerSpec): Promise<Container> {
    const args = [
      ...(spec.network === undefined ? [] : [`--network ${spec.network}`]),
      ...(spec.publish ?? []).map((port) => `-p ${port}`),
      ...(spec.args ?? []),
    ];
    await this.docker(`run -d --name ${spec.name} ${args.join(' ')} busybox:lab /bin/sleep 1000000`);
    return this.attach(spec.name, spec.listen ?? [9000]);
  }

  /** Makes a running container a place for probes, again after a restart. */
  async attach(name: string, listen: readonly (number | `${number}/udp`)[] = []): Promise<Container> {
    const format = '{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}';
    const [pid, ip] = (await this.docker(`inspect --format '${format}' ${name}`)).trim().split(' ');
    const id = `${this.node.id}/${name}`;
    await this.lab.addPlace(id, this.node.path(`/proc/${pid}/ns/net`));
    for (const port of listen) {
      if (typeof port === 'number') await this.lab.serve(id, 'tcp', port);
      else await this.lab.serve(id, 'udp', Number.parseInt(port, 10));
    }
    return { id, name, ip: ip ?? '' };
  }

  probe(probe: Probe): Promise<ProbeResult> {
    return this.lab.probe(probe);
  }

  probeAll(probes: readonly Probe[]): Promise<ProbeResult[]> {
    return this.lab.probeAll(probes);
  }

  collect(outDir: string, args: readonly string[] = []): Promise<string> {
    return this.node.collect(outDir, args);
  }

  /** Ends the node with everything in it, then removes what dockerd left on the host's disk and in its cgroups. */
  async destroy(): Promise<void> {
    await this.lab.destroy();
    await removeCgroup(this.#cgroup);
    rmSync(this.#data, { recursive: true, force: true, maxRetries: 3 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

/** Removes the lab's cgroups, which are empty by now; they are in the host's hierarchy, not in a namespace. */
async function removeCgroup(name: string): Promise<void> {
  const script = `mount -t cgroup2 cgroup2 /mnt && find /mnt/${name} -depth -type d -exec rmdir {} + 2>/dev/null`;
  await execute('unshare', ['--mount', 'sh', '-c', script]);
}

/** A test process that was killed took its namespaces with it, but not its directory and its cgroup. */
async function removeLeftovers(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^nc-docker-(\d+)-\w+$/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await removeCgroup(name);
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
