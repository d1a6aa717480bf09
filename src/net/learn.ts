import type { Addr } from './addr.ts';
import type { NetCluster } from './cluster.ts';
import type { Doors } from './outlook.ts';
import type { Packet } from './packet.ts';
import type { Space } from './space.ts';
import type { Hook } from './step.ts';
import { followWith } from './trace.ts';
import { Watch } from './watch.ts';
import { type End, stepsOf } from './way.ts';

/** What one node does with a packet that leaves or enters it. */
export type Status =
  | { readonly kind: 'pass' }
  /** `key`: equal for the same cause. */
  | { readonly kind: 'ends' | 'unknown'; readonly key: string };

/** What was seen of a node in one half of a trace, and for which other addresses the rules would have done it as well. */
export interface Side {
  readonly status: Status;
  readonly watch: Watch;
  readonly doors: Doors;
  /** The other node's pod, and the end of its tunnel; null: none. */
  readonly peer: Addr;
  readonly peerTunnel: Addr | null;
}

/** Both nodes in both halves; absent: the packet did not come so far, or what it met holds for this pair only. */
export interface Learned {
  readonly out?: Side;
  readonly in?: Side;
  readonly answerOut?: Side;
  readonly answerIn?: Side;
}

interface Seen {
  readonly watch: Watch;
  underlay: string | null;
  host: string;
  out: string;
  pod: string;
  tunnelPeer: Addr | null;
  translated: boolean;
}

/** Follows a pod's packet to another node's pod and keeps what it tells of both nodes. `asked`: where other nodes' addresses are. */
export function learn(
  cluster: NetCluster,
  from: { readonly node: string; readonly place: string; readonly pod: Addr },
  to: { readonly node: string; readonly place: string; readonly pod: Addr; readonly text: string },
  asked: readonly (readonly [low: number, high: number])[],
): Learned {
  const seen = new Map<string, Seen>();
  const of = (node: string, answering: boolean): Seen => {
    const key = `${answering} ${node}`;
    let one = seen.get(key);
    if (one === undefined) {
      one = {
        watch: new Watch(asked),
        underlay: null,
        host: '',
        out: '',
        pod: '',
        tunnelPeer: null,
        translated: false,
      };
      seen.set(key, one);
    }
    return one;
  };
  const watch = (space: Space, answering: boolean, hook: Hook, packet: Packet): Watch => {
    const one = of(space.node.id, answering);
    note(one, space, hook, packet, from.pod, to.pod);
    return one.watch;
  };
  const { outcomes } = followWith(cluster, { from: from.place, to: to.text, proto: 'icmp' }, watch);
  const whole = outcomes.find((o) => o.request.verdict === 'delivered' && o.reply?.verdict === 'delivered');
  const only = outcomes.length === 1 ? outcomes[0] : undefined;
  const shown = whole ?? only;
  if (shown === undefined || (whole === undefined && shown.doubts.length > 0)) return {};
  if (whole !== undefined && whole.request.space?.node.id !== to.node) return {};
  const side = (node: string, answering: boolean, end: End | null, peer: Addr): Side | undefined => {
    const one = seen.get(`${answering} ${node}`);
    if (one === undefined || end === null || one.translated) return undefined;
    const status = statusOf(node, end, shown.doubts);
    const doors = { underlay: one.underlay, host: one.host, out: one.out, pod: one.pod };
    return status === null ? undefined : { status, watch: one.watch, doors, peer, peerTunnel: one.tunnelPeer };
  };
  const { request, reply } = shown;
  return {
    ...some('out', side(from.node, false, request, to.pod)),
    ...some('in', side(to.node, false, request, from.pod)),
    ...some('answerOut', side(to.node, true, reply, from.pod)),
    ...some('answerIn', side(from.node, true, reply, to.pod)),
  };
}

const some = <K extends string>(key: K, side: Side | undefined): { [P in K]?: Side } =>
  side === undefined ? {} : ({ [key]: side } as { [P in K]?: Side });

function note(one: Seen, space: Space, hook: Hook, packet: Packet, a: Addr, b: Addr): void {
  const pods = (packet.src === a && packet.dst === b) || (packet.src === b && packet.dst === a);
  if (!pods) {
    const own = space.owns(packet.src) ? packet.dst : packet.src;
    // the tunnel's own packet has the addresses of the two nodes; anything else was rewritten
    if (packet.proto === 17 && packet.src !== a && packet.src !== b && packet.dst !== a && packet.dst !== b) {
      one.tunnelPeer = own;
      if (hook === 'prerouting') one.underlay = packet.iif;
    } else one.translated = true;
    return;
  }
  if (space.inode !== null) {
    if (hook === 'prerouting') one.pod = packet.iif;
  } else if (hook === 'forward' && !packet.bridged) {
    one.host = packet.iif;
    one.out = packet.oif;
  }
}

/** null: the packet did not get to this node, or ended at something that another one might not meet. */
function statusOf(
  node: string,
  end: End,
  doubts: readonly { key: string; because: string; holds: boolean }[],
): Status | null {
  const last = stepsOf(end.way).at(-1);
  if (end.verdict !== 'delivered' && last?.space.node.id === node) {
    const general = /^(raw|mangle|nat|filter|security)\/|^nft |^forwarding$/.test(last.place);
    return general && end.verdict !== 'unknown' ? { kind: 'ends', key: `${node} ${last.place}: ${last.text}` } : null;
  }
  const open = doubts.find((d) => d.key.includes(`${node}/`));
  return open === undefined ? { kind: 'pass' } : { kind: 'unknown', key: `${node} ${open.because}` };
}
