import { randomUUID } from 'node:crypto';
import { Agent, type ProbeResult, type Protocol } from './agent.ts';
import { type Holder, hold } from './holder.ts';
import { LabNode, type LabPod } from './node.ts';
import { mountScript, NO_DAD, nodeScript } from './node-script.ts';
import { Place } from './place.ts';
import { type LabPlan, type LabSpec, labPlan, nodePlan } from './spec.ts';

const NODE_FLAGS = ['--net', '--mount', '--uts', '--pid', '--fork'];

const OUTSIDE = `ip link set lo up\necho 0 >/proc/sys/net/ipv4/ip_forward\n${NO_DAD}`;

export interface Probe {
  readonly from: Place | string;
  readonly to: Place | string;
  readonly proto: Protocol;
  readonly port?: number;
  readonly size?: number;
  readonly df?: boolean;
  readonly ttl?: number;
  readonly mark?: number;
  /** Source address and port; chosen by the kernel without. */
  readonly source?: string;
  readonly sport?: number;
  /** Seconds. */
  readonly timeout?: number;
}

/** Real nodes in namespaces: a switch, an outside host (the default gateway, no route back), and nodes with pods. */
export class Lab {
  readonly plan: LabPlan;
  readonly nodes: readonly LabNode[];
  readonly outside: Place;
  /** The outside host as a node that can be collected; null unless the spec asks for it. */
  readonly outsideNode: LabNode | null;
  readonly switch: Place;
  readonly #agent: Agent;
  readonly #holders: readonly Holder[];
  readonly #ended: (() => Promise<void>)[] = [];
  #destroyed: Promise<void> | undefined;

  private constructor(plan: LabPlan, agent: Agent, holders: readonly [Holder, Holder, ...Holder[]]) {
    const [sw, outside, ...nodes] = holders;
    this.plan = plan;
    this.#agent = agent;
    this.#holders = holders;
    this.switch = new Place('switch', null, `/proc/${sw.pid}/ns/net`, [`--target=${sw.pid}`, '--net']);
    this.outsideNode = plan.outsideNode ? outsideNode(plan, outside) : null;
    this.outside =
      this.outsideNode ??
      new Place('outside', plan.outside, `/proc/${outside.pid}/ns/net`, [`--target=${outside.pid}`, '--net', '--uts']);
    this.nodes = nodes.map((holder, i) => new LabNode(plan, plan.nodes[i]!, holder));
  }

  static async create(spec: LabSpec = {}): Promise<Lab> {
    const plan = labPlan(spec);
    const agent = new Agent();
    const started = await Promise.allSettled([
      hold(['--net'], 'ip link set lo up'),
      plan.outsideNode
        ? hold(NODE_FLAGS, `${mountScript('outside', randomUUID())}\n${OUTSIDE}`)
        : hold(['--net', '--uts'], `hostname outside\n${OUTSIDE}`),
      ...plan.nodes.map((node) => hold(NODE_FLAGS, mountScript(node.name, randomUUID(), node.binds))),
    ]);
    const holders = started.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
    const lab = new Lab(plan, agent, holders as [Holder, Holder, ...Holder[]]);
    try {
      for (const s of started) if (s.status === 'rejected') throw s.reason;
      await lab.#build(holders);
    } catch (e) {
      await lab.destroy();
      throw e;
    }
    return lab;
  }

  async #build(holders: readonly Holder[]): Promise<void> {
    const [, outside, ...nodes] = holders;
    const link = (port: string, pid: number) => [
      `link add ${port} type veth peer name eth0 netns ${pid}`,
      `link set ${port} master br0 up`,
    ];
    const wires = [
      'link add br0 type bridge',
      'link set br0 up',
      ...link('p-outside', outside!.pid),
      ...nodes.flatMap((node, i) => link(`p-${this.plan.nodes[i]!.name}`, node.pid)),
    ];
    for (const node of this.nodes) node.prepare();
    this.outsideNode?.prepare();
    await this.switch.sh('ip -batch -', { input: wires.join('\n') });
    const address = `addr add ${this.plan.outside}/${this.plan.underlayLength} brd + dev eth0\nlink set eth0 up`;
    await Promise.all([
      this.outside.sh('ip -batch -', { input: address }),
      ...this.nodes.map((node) => node.sh(nodeScript(this.plan, node.plan))),
    ]);
    await Promise.all(this.places().map((place) => this.#agent.place(place.id, place.netns)));
    await Promise.all([
      this.serve(this.outside, 'tcp', 80),
      this.serve(this.outside, 'udp', 53),
      ...this.pods().flatMap((pod) => [this.serve(pod, 'tcp', 80), this.serve(pod, 'udp', 53)]),
    ]);
  }

  /** A node by name or index; the first one without. */
  node(which: string | number = 0): LabNode {
    const node = typeof which === 'number' ? this.nodes[which] : this.nodes.find((n) => n.id === which);
    if (node === undefined) throw new Error(`the lab has no node ${which}`);
    return node;
  }

  pods(): LabPod[] {
    return this.nodes.flatMap((node) => node.pods);
  }

  /** Everywhere packets can start. */
  places(): Place[] {
    return [this.outside, ...this.nodes, ...this.pods()];
  }

  /** Makes a namespace known to probes and servers under a name: a container's, one made by a test. */
  async addPlace(id: string, netns: string): Promise<void> {
    await this.#agent.place(id, netns);
  }

  /** One more pod on a node, with its servers. */
  async addPod(node: LabNode, host: number): Promise<LabPod> {
    const pod = await node.startPod(host);
    await this.addPlace(pod.id, pod.netns);
    await Promise.all([this.serve(pod, 'tcp', 80), this.serve(pod, 'udp', 53)]);
    return pod;
  }

  /** A server that answers with the source address it saw. Pods and the outside host have tcp/80 and udp/53. */
  async serve(place: Place | string, proto: 'tcp' | 'udp', port: number, address?: string): Promise<void> {
    await this.#agent.serve(idOf(place), proto, port, address);
  }

  /** Sends a real packet. tcp without a port goes to 80, udp to 53. */
  async probe(probe: Probe): Promise<ProbeResult> {
    return (await this.probeAll([probe]))[0]!;
  }

  /** All of them at once: as long as the slowest one, however many. */
  probeAll(probes: readonly Probe[]): Promise<ProbeResult[]> {
    return this.#agent.probe(
      probes.map((probe) => ({
        ...probe,
        from: idOf(probe.from),
        to: typeof probe.to === 'string' ? probe.to : addressOf(probe.to),
        port: probe.port ?? (probe.proto === 'tcp' ? 80 : probe.proto === 'udp' ? 53 : undefined),
      })),
    );
  }

  /** Every ordered pair of pods, every pod to the outside host, every node to every pod and node. */
  mesh(protocols: readonly Protocol[] = ['tcp', 'udp', 'icmp']): Probe[] {
    const pods = this.pods();
    const pairs: [Place, Place][] = [
      ...pods.flatMap((from) =>
        [...pods.filter((to) => to !== from), this.outside].map((to): [Place, Place] => [from, to]),
      ),
      ...this.nodes.flatMap((from) => pods.map((to): [Place, Place] => [from, to])),
    ];
    const nodes = this.nodes.flatMap((from) => this.nodes.filter((to) => to !== from).map((to) => ({ from, to })));
    return [
      ...pairs.flatMap(([from, to]) => protocols.map((proto): Probe => ({ from, to, proto }))),
      ...(protocols.includes('icmp') ? nodes.map(({ from, to }): Probe => ({ from, to, proto: 'icmp' })) : []),
    ];
  }

  /**
   * The kernel's reasons for packets dropped while `during` ran, `REASON@function`: of the whole machine, so
   * noise is normal. Empty where the kernel cannot be traced.
   */
  async dropReasons<T>(during: () => Promise<T>): Promise<{ result: T; reasons: string[] }> {
    const tracing = await this.#agent.traceStart().then(
      () => true,
      () => false,
    );
    const result = await during();
    return { result, reasons: tracing ? await this.#agent.traceStop().catch(() => []) : [] };
  }

  /** Collects every node, one after the other, the outside host as well where it is one; the bundles' paths. */
  async collectAll(outDir: string, args: readonly string[] = []): Promise<string[]> {
    const bundles: string[] = [];
    const all = this.outsideNode === null ? this.nodes : [...this.nodes, this.outsideNode];
    for (const node of all) bundles.push(await node.collect(outDir, args));
    return bundles;
  }

  /** Runs when the lab ends, before its processes do. */
  onDestroy(call: () => Promise<void>): void {
    this.#ended.push(call);
  }

  destroy(): Promise<void> {
    this.#destroyed ??= (async () => {
      for (const call of this.#ended.reverse()) await call().catch(() => undefined);
      await Promise.all([this.#agent.end(), ...this.#holders.map((holder) => holder.end())]);
    })();
    return this.#destroyed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

function outsideNode(plan: LabPlan, holder: Holder): LabNode {
  const own = nodePlan({ name: 'outside', address: plan.outside, pods: [], controlPlane: false }, 98, {});
  return new LabNode({ ...plan, backend: 'none' }, own, holder);
}

function idOf(place: Place | string): string {
  return typeof place === 'string' ? place : place.id;
}

function addressOf(place: Place): string {
  if (place.ip === null) throw new Error(`${place.id} has no address`);
  return place.ip;
}
