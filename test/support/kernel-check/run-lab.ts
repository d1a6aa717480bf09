import { Lab, type LabNode, type LabPod, type Place, type Probe, type ProbeResult } from '../lab/index.ts';
import { podPlan } from '../lab/spec.ts';
import { containerNetns, dockerDevices } from './docker-style.ts';
import { ipv6Setup, OUTSIDE_SETUP6 } from './ipv6.ts';
import {
  type NodePart,
  nodeIp,
  OUTSIDE_IP,
  type Plan,
  type PlannedProbe,
  podPrefix,
  secondIp,
  UNDERLAY,
} from './plan.ts';

/** What nobody models and everybody has: no redirects, which would make the second packet take another way. */
const QUIET = `for f in /proc/sys/net/ipv4/conf/*/accept_redirects /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$f; done`;

/** Seconds. In a lab an answer needs well below a millisecond. */
const TIMEOUT = 0.6;

/** The lab of a plan, built and changed. */
export class PlannedLab {
  readonly plan: Plan;
  readonly lab: Lab;
  /** What the changes that failed said. */
  readonly complaints: readonly string[];
  readonly #places: ReadonlyMap<string, Place>;

  private constructor(plan: Plan, lab: Lab, places: ReadonlyMap<string, Place>, complaints: readonly string[]) {
    this.plan = plan;
    this.lab = lab;
    this.complaints = complaints;
    this.#places = places;
  }

  static async build(plan: Plan): Promise<PlannedLab> {
    const lab = await Lab.create({
      backend: plan.backend,
      flannelRules: false,
      processes: false,
      outsideNode: plan.outsideCollected,
      nodes: plan.nodes.map((node) => ({
        name: node.name,
        address: nodeIp(node),
        podSubnet: `${podPrefix(node)}.0/24`,
        vtepMac: `0e:00:00:00:00:0${node.index + 1}`,
        pods: node.pods,
        iptables: node.iptables,
        controlPlane: node.index === 0,
        setup: `${dockerDevices(node)}\n${macvlanPods(node)}\n${plan.ipv6 ? ipv6Setup(plan, node, (host) => podPlan(podPrefix(node), host, 0).netns) : ''}\n${QUIET}`,
      })),
    });
    try {
      await Promise.all(plan.nodes.map((node) => addContainers(lab, node)));
      if (plan.ipv6) await addIpv6(lab);
      if (plan.twoNetworks) await addSecondNetwork(plan, lab);
      const places = new Map<string, Place>(lab.places().map((place) => [place.id, place]));
      await forgetNeighbours(places);
      return new PlannedLab(plan, lab, places, await applySteps(plan, places));
    } catch (e) {
      await lab.destroy();
      throw e;
    }
  }

  /** Every probe of the plan, at once, each as often as it asks. */
  async probeAll(probes: readonly PlannedProbe[] = this.plan.probes, timeout = TIMEOUT): Promise<ProbeResult[][]> {
    const wire = probes.flatMap((probe) => Array.from({ length: probe.tries ?? 1 }, () => wireProbe(probe, timeout)));
    const results = await this.lab.probeAll(wire);
    let next = 0;
    return probes.map((probe) => {
      const from = next;
      next += probe.tries ?? 1;
      return results.slice(from, next);
    });
  }

  /** Bundles of every node whose evidence is in the case. */
  async collect(dir: string): Promise<string[]> {
    const nodes = this.lab.nodes.filter((node) =>
      this.plan.nodes.some((part) => part.name === node.id && part.collected),
    );
    const all: LabNode[] = [...nodes, ...(this.lab.outsideNode === null ? [] : [this.lab.outsideNode])];
    return Promise.all(all.map((node) => node.collect(dir, ['--quick'])));
  }

  place(id: string): Place | undefined {
    return this.#places.get(id);
  }

  async destroy(): Promise<void> {
    await this.lab.destroy();
  }
}

function wireProbe({ from, to, proto, port, size, df }: PlannedProbe, timeout: number): Probe {
  return {
    from,
    to,
    proto,
    timeout,
    ...(port === undefined ? {} : { port }),
    ...(size === undefined ? {} : { size }),
    ...(df === undefined ? {} : { df }),
  };
}

/** Pods of the macvlan plugin: an address of the node's network, and nothing of the node between. */
const macvlanPods = (node: NodePart): string =>
  (node.macvlans ?? [])
    .map(
      (host) => `ip netns add mv-${host}
ip link add link eth0 name mv${host} type macvlan mode bridge
ip link set mv${host} netns mv-${host} name eth0
ip -n mv-${host} -batch - <<'EOF'
link set lo up
addr add ${UNDERLAY}.${host}/24 brd + dev eth0
link set eth0 up
route add default via ${OUTSIDE_IP} dev eth0
EOF`,
    )
    .join('\n');

async function addContainers(lab: Lab, part: NodePart): Promise<void> {
  const node = lab.node(part.name);
  await lab.serve(node, 'tcp', 80);
  await lab.serve(node, 'udp', 53);
  for (const [i, host] of (part.macvlans ?? []).entries()) {
    const id = `${part.name}/macvlan-${i + 1}`;
    await lab.addPlace(id, node.path(`/run/netns/mv-${host}`));
    await lab.serve(id, 'tcp', 80);
    await lab.serve(id, 'udp', 53);
  }
  for (const bridge of part.bridges)
    for (let i = 0; i < bridge.containers.length; i++) {
      const id = `${part.name}/${bridge.name}-${i + 1}`;
      await lab.addPlace(id, node.path(`/run/netns/${containerNetns(bridge, i)}`));
      await lab.serve(id, 'tcp', 80);
      await lab.serve(id, 'udp', 53);
    }
}

async function addSecondNetwork(plan: Plan, lab: Lab): Promise<void> {
  const wires = plan.nodes.map((part) => {
    const { pid } = lab.node(part.name);
    return `link add q-${part.name} type veth peer name eth1 netns ${pid}\nlink set q-${part.name} master br1 up`;
  });
  await lab.switch.sh('ip -batch -', { input: ['link add br1 type bridge', 'link set br1 up', ...wires].join('\n') });
  await Promise.all(
    plan.nodes.map((part) =>
      lab.node(part.name).sh(`ip addr add ${secondIp(part)}/24 brd + dev eth1\nip link set eth1 up\n${QUIET}`),
    ),
  );
}

async function addIpv6(lab: Lab): Promise<void> {
  await lab.outside.sh(OUTSIDE_SETUP6);
  await Promise.all(
    lab.places().flatMap((place) => [lab.serve(place, 'tcp', 80, '::'), lab.serve(place, 'udp', 53, '::')]),
  );
}

/** Place by place in their order; one that fails has no effect and does not end the others. */
/** What was learned while the lab was built would hide for a while what the steps break. */
async function forgetNeighbours(places: ReadonlyMap<string, Place>): Promise<void> {
  await Promise.all([...places.values()].map((place) => place.run('ip neigh flush all')));
}

async function applySteps(plan: Plan, places: ReadonlyMap<string, Place | LabPod>): Promise<string[]> {
  const byPlace = Map.groupBy(plan.steps, (step) => step.at);
  const ran = await Promise.all(
    [...byPlace].map(async ([at, steps]) => {
      const place = places.get(at);
      if (place === undefined) return [];
      const { stderr } = await place.run(steps.map((step) => step.sh).join('\n'));
      return stderr
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => `${at}: ${line}`);
    }),
  );
  return ran.flat();
}
