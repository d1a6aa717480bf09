import type { Lab, LabSpec, Outcome, Protocol } from '../lab/index.ts';

/** The kind of place where a packet ends, as the kernel's drop reason implies it. */
export type HopKind =
  | 'firewall'
  | 'forwarding'
  | 'rp-filter'
  | 'vxlan-fdb'
  | 'vxlan-neighbour'
  | 'vxlan-vni'
  | 'vxlan-mac'
  | 'neighbour'
  | 'socket'
  | 'route'
  | 'mtu'
  | 'ttl'
  | 'bridge'
  | 'link'
  | 'source'
  | 'client';

export interface Death {
  /** The node it dies on; null: on no collected node (the outside host, the switch). */
  readonly node: string | null;
  readonly kinds: readonly HopKind[];
  readonly half: 'request' | 'reply';
}

/** A probe of ground-truth.md with its recorded outcome. */
export interface Expected {
  /** Short names (pA, B, ext, c1) or addresses. */
  readonly from: string;
  readonly to: string;
  readonly proto: Protocol;
  readonly port?: number;
  readonly size?: number;
  readonly df?: boolean;
  readonly outcome: Outcome;
  /** Source address that the server saw. */
  readonly src?: string;
  /** Port on which the server was reached. */
  readonly answeredPort?: number;
  /** Try it so often; `ok` and its opposite both have to occur. */
  readonly tries?: number;
  readonly dies?: Death;
}

export interface Stage {
  /** Changes the lab of the stage before; `fresh` begins with a new one. */
  readonly apply?: (lab: Lab) => Promise<unknown>;
  readonly fresh?: boolean;
  readonly probes: readonly Expected[];
}

export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly spec?: LabSpec;
  readonly docker?: boolean;
  readonly stages: readonly Stage[];
}

type More = Omit<Partial<Expected>, 'from' | 'to' | 'proto' | 'port' | 'outcome' | 'dies'>;

/** `pA -> pB:80 tcp` with what came of it, and where it died: `node-b firewall|socket reply`, `- neighbour`. */
export function probe(text: string, outcome: Outcome, dies?: string, more: More = {}): Expected {
  const found = /^(\S+) -> ([^\s:]+)(?::(\d+))? (tcp|udp|icmp)$/.exec(text);
  if (found === null) throw new Error(`not a probe: ${text}`);
  const [, from, to, port, proto] = found;
  const [node, kinds, half] = dies?.split(' ') ?? [];
  return {
    from: from!,
    to: to!,
    proto: proto as Protocol,
    ...(port === undefined ? {} : { port: Number(port) }),
    outcome,
    ...(dies === undefined
      ? {}
      : {
          dies: {
            node: node === '-' ? null : node!,
            kinds: kinds!.split('|') as HopKind[],
            half: half === 'reply' ? 'reply' : 'request',
          },
        }),
    ...more,
  };
}

export const ok = (text: string, src?: string, more: More = {}): Expected =>
  probe(text, 'ok', undefined, src === undefined ? more : { src, ...more });
export const lost = (text: string, dies: string, more: More = {}): Expected => probe(text, 'lost', dies, more);
export const timeout = (text: string, dies: string, more: More = {}): Expected => probe(text, 'timeout', dies, more);

/** A change made by shell lines on nodes, by index: `{ 1: 'iptables -P FORWARD DROP' }`. */
export const sh =
  (lines: Readonly<Record<number, string>>) =>
  async (lab: Lab): Promise<void> => {
    for (const [node, command] of Object.entries(lines)) await lab.node(Number(node)).sh(command);
  };
