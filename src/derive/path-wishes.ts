import { isSampled } from './path-sample.ts';
import type { PathServices, Vip } from './path-services.ts';
import { OUTSIDE } from './pods.ts';

export type Asker = PathServices & { readonly node: string };

/** One connection that somebody wants to make. */
export interface Wish {
  /** `from` as in `netcase trace`: `node-a/<inode>`, `node-a`. */
  readonly request: {
    readonly from: string;
    readonly to: string;
    readonly proto: 'tcp' | 'udp';
    readonly port: number;
  };
  /** Between which nodes; null: wherever it is served. */
  readonly ends: { readonly from: string; readonly to: string | null };
  /** `10.244.1.10 on node-a`, `cluster DNS 10.96.0.10:53/udp`. */
  readonly who: string;
  readonly what: string;
  readonly kind: 'service' | 'outside' | 'port' | 'probe';
  readonly nodes: readonly string[];
}

export interface Wishes {
  readonly wishes: readonly Wish[];
  /** Services that the sample asks of other nodes only. */
  readonly left: readonly Vip[];
}

/** Every backend of a service is a way of its own. In a sampled cluster so many are followed for each node that there is. */
const WAYS = 4;

/**
 * What the containers of the `at`th of a cluster's nodes want. Up to 20 nodes ask for everything. Of more, one pod of the first and every nth
 * node asks for a service of many backends, the next node in the ring for a published port, and only for the first port of a node the node
 * itself and a container of it, too.
 */
export function wishesOf(members: readonly Asker[], at: number): Wishes {
  const own = members[at] as Asker;
  const sampled = isSampled(members);
  const vips = new Map(members.flatMap((m) => m.vips).map((v) => [`${v.address} ${v.port} ${v.proto}`, v]));
  const wishes: Wish[] = [];
  const left: Vip[] = [];
  for (const vip of vips.values()) {
    const many = sampled && vip.backends > WAYS;
    if (many && at % Math.ceil(vip.backends / WAYS) !== 0) left.push(vip);
    else wishes.push(...serviceWishes(own, vip, many ? 1 : own.pods.length));
  }
  const other = sampled ? members[(at + 1) % members.length] : members.find((m) => m !== own);
  const ports = own.published.flatMap((p, nth) => portWishes(own, p, other, sampled && nth > 0));
  return {
    wishes: [...wishes, ...outsideWishes(own), ...ports, ...probeWishes(own)],
    left: own.pods.length === 0 ? [] : left,
  };
}

const placeOf = (own: Asker, c: { readonly inode: string; readonly address: string }) => ({
  place: `${own.node}/${c.inode}`,
  who: `${c.address} on ${own.node}`,
});

/** Two pods: a backend of the service reaches itself by another way than its neighbours reach it. */
function serviceWishes(own: Asker, { name, address, port, proto }: Vip, pods: number): readonly Wish[] {
  return own.pods.slice(0, pods).map((pod): Wish => {
    const { place, who } = placeOf(own, pod);
    return {
      request: { from: place, to: address, proto, port },
      ends: { from: own.node, to: null },
      who,
      kind: 'service',
      what: `${name} (${address}:${port}/${proto})`,
      nodes: [own.node],
    };
  });
}

function outsideWishes(own: Asker): readonly Wish[] {
  return (own.leads ? own.clients : []).map((c): Wish => {
    const { place, who } = placeOf(own, c);
    return {
      request: { from: place, to: OUTSIDE, proto: 'tcp', port: 443 },
      ends: { from: own.node, to: null },
      who,
      kind: 'outside',
      what: `${OUTSIDE}, which stands for the outside`,
      nodes: [own.node],
    };
  });
}

/** The kubelet asks each pod of its node whether it is well; flanneld and others on the host’s network ask for the API by its service. */
function probeWishes({ node, pods, vips }: Asker): readonly Wish[] {
  const asked = { who: node, kind: 'probe', nodes: [node] } as const;
  const own = pods.slice(0, 1).map(
    ({ address }): Wish => ({
      ...asked,
      request: { from: node, to: address, proto: 'tcp', port: 80 },
      ends: { from: node, to: node },
      what: `${address}, a pod of its own, as the kubelet’s probes have to`,
    }),
  );
  const api = vips.filter((v) => v.name.startsWith('default/kubernetes') && pods.length > 0).slice(0, 1);
  return [
    ...own,
    ...api.map(
      ({ name, address, port, proto }): Wish => ({
        ...asked,
        request: { from: node, to: address, proto, port },
        ends: { from: node, to: null },
        what: `${name} (${address}:${port}/${proto}), which flanneld and others on the host’s network ask`,
      }),
    ),
  ];
}

/** From the node itself, from another container of it, and from another node, or from outside; `far`: from another node only, where others may use it. */
function portWishes(
  own: Asker,
  published: Asker['published'][number],
  other: Asker | undefined,
  far: boolean,
): readonly Wish[] {
  const { address, port, proto, local } = published;
  const wish = (place: string, who: string, from: string): Wish => ({
    request: { from: place, to: address, proto, port },
    ends: { from, to: own.node },
    who,
    kind: 'port',
    what: `the published port ${address}:${port}/${proto} of ${published.container}`,
    nodes: [...new Set([own.node, from])],
  });
  const itself = wish(own.node, own.node, own.node);
  if (local) return [itself];
  const client = own.clients.find((c) => !published.own.includes(c.address));
  const beside = client === undefined ? [] : [wish(placeOf(own, client).place, placeOf(own, client).who, own.node)];
  // where no other node could ask somebody outside does
  const away =
    other === undefined
      ? [wish(OUTSIDE, `${OUTSIDE}, which stands for clients outside,`, own.node)]
      : [wish(other.node, other.node, other.node)];
  return far && other !== undefined ? away : [itself, ...beside, ...away];
}
