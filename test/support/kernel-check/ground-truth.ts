import { DockerLab, Lab, type Place, type Probe } from '../lab/index.ts';
import { FORWARDING } from './ground-truth-forwarding.ts';
import { HOSTS } from './ground-truth-hosts.ts';
import { OVERLAY } from './ground-truth-overlay.ts';
import type { Expected, Scenario } from './scenario.ts';

/** The scenarios of ground-truth.md, in order. */
export const SCENARIOS: readonly Scenario[] = [...OVERLAY, ...FORWARDING, ...HOSTS];

/** A scenario's lab, and what its short names mean. */
export interface Stand {
  readonly lab: Lab;
  place(name: string): Place | string;
  destroy(): Promise<void>;
}

/** Builds the lab in which a scenario begins. */
export async function build(scenario: Scenario): Promise<Stand> {
  if (scenario.docker) return dockerStand();
  const lab = await Lab.create({ processes: false, outsideNode: true, ...scenario.spec });
  return {
    lab,
    destroy: () => lab.destroy(),
    place(name) {
      if (name === 'ext') return lab.outside;
      if (name === 'q1') return lab.node(0).pod('pod-2');
      const found = /^(p?)([A-D])$/.exec(name);
      if (found === null) return name;
      const node = lab.node('ABCD'.indexOf(found[2]!));
      return found[1] === 'p' ? node.pod() : node;
    },
  };
}

async function dockerStand(): Promise<Stand> {
  const docker = await DockerLab.create({ outsideNode: true });
  try {
    const containers = new Map<string, string>();
    const add = async (name: string, more: object = {}) => {
      containers.set(name, (await docker.container({ name, ...more })).ip);
    };
    await add('c1', { publish: ['9001:9000'], listen: [9000, 7000] });
    await add('c2');
    await docker.docker('network create net2');
    await add('c3', { network: 'net2' });
    await docker.outside.sh(`ip route add 172.16.0.0/12 via ${docker.node.ip}`);
    return {
      lab: docker.lab,
      destroy: () => docker.destroy(),
      place(name) {
        if (name === 'ext') return docker.outside;
        if (name === 'host') return docker.node;
        const ip = containers.get(name);
        return ip === undefined ? name : ({ id: `${docker.node.id}/${name}`, ip } as Place);
      },
    };
  } catch (e) {
    await docker.destroy();
    throw e;
  }
}

/** The probe that a row of the table means in this lab. */
export function realProbe(stand: Stand, row: Expected): Probe {
  const { from, to, proto, port, size, df } = row;
  return {
    from: stand.place(from),
    to: stand.place(to),
    proto,
    ...(port === undefined ? {} : { port }),
    ...(size === undefined ? {} : { size }),
    ...(df === undefined ? {} : { df }),
  };
}
