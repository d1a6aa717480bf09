import { formatPrefix, parsePrefix, prefixCovers } from '../core/address.ts';
import { shellWord } from '../core/shell.ts';
import type { Fact, FactKind, LinkDevice, Ruleset } from '../facts/index.ts';
import { rulesetOf } from './accept-range.ts';
import type { Step } from './step.ts';

/** UDP to one port that has to pass, and the rule that drops it. */
export interface Blocked {
  /** Of the deciding line. */
  readonly fact: Fact<FactKind>;
  /** `filter/INPUT > ufw-reject-input`, `nft inet guard input`. */
  readonly place: string;
  readonly port: number;
  /** Comes from these addresses, or goes to them. */
  readonly way: 'in' | 'out';
  readonly peers: readonly string[];
  /** The device that it comes in by or leaves by. */
  readonly under: LinkDevice | undefined;
}

/** So many addresses are written out in one command. */
const MOST = 64;

/** Lets it through in the ruleset that drops it, in that firewall's own words where it has some that last. */
export function acceptPort(blocked: Blocked): readonly Step[] {
  const { fact, place, port, way } = blocked;
  const ends = endsOf(blocked);
  const family = ends[0]?.includes(':') ? 6 : 4;
  const risk = `Opens udp/${port} ${way === 'in' ? 'of this node for' : 'from this node to'} ${ends.join(', ')}: vxlan has no authentication, so let nobody else in.`;
  const owner = ownerOf(fact, place);
  if (owner === 'ufw') return [ufw(blocked, ends, risk)];
  if (owner === 'firewalld' && way === 'in') return [firewalld(blocked, ends, family, risk)];
  const step = `Let udp/${port} ${way === 'in' ? 'of the other nodes in' : 'to the other nodes out'}, in front of the rule that drops it.`;
  const native = /^nft (\S+) (\S+) (.+)$/.exec(place);
  if (native !== null) {
    const [, of, table, path = ''] = native;
    const chain = [of, table, path.split(' > ').at(-1)].map((word = '') => shellWord(word)).join(' ');
    const side = `${family === 6 ? 'ip6' : 'ip'} ${way === 'in' ? 'saddr' : 'daddr'} { ${ends.join(', ')} }`;
    return [
      {
        step,
        run: `nft insert rule ${chain} '${side} udp dport ${port} accept comment "netcase"'`,
        verify: `nft -a list chain ${chain}   # the rule stands in front of the one that drops`,
        undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
        risk,
      },
    ];
  }
  const { iptables, chain } = rulesetOf(fact.evidence, place);
  const program = family === 6 ? iptables.replace(/^iptables/, 'ip6tables') : iptables;
  const side = `${way === 'in' ? '-s' : '-d'} ${ends.join(',')}`;
  const rule = (action: string) => `${program} ${action} ${chain} ${side} -p udp --dport ${port} -j ACCEPT`;
  return [
    {
      step,
      run: rule('-I'),
      verify: `${rule('-C')} && echo accepted   # and the packets' counter of what dropped them stands still`,
      undo: rule('-D'),
      risk,
    },
  ];
}

/** Whose ruleset it is, by the chains that its maker never does without. */
function ownerOf({ kind, value }: Fact<FactKind>, place: string): 'ufw' | 'firewalld' | null {
  if (/^nft \S+ firewalld /.test(place)) return 'firewalld';
  if (!/^filter\//.test(place) || !/^ip6?tables/.test(kind)) return null;
  const chains = (value as Ruleset).tables.get('filter')?.chains;
  if (chains?.has('ufw-user-input') === true || chains?.has('ufw6-user-input') === true) return 'ufw';
  return chains?.has('INPUT_ZONES') === true ? 'firewalld' : null;
}

/** The network of the device where it holds all of them, else each address. */
function endsOf({ peers, under }: Blocked): readonly string[] {
  const ips = peers.flatMap((p) => parsePrefix(p) ?? []);
  for (const { address, prefixLength } of under?.addresses ?? []) {
    const net = parsePrefix(`${address}/${prefixLength}`);
    if (net !== null && ips.every((ip) => prefixCovers(net, ip))) return [formatPrefix(net)];
  }
  return peers.slice(0, MOST);
}

function firewalld({ port, under }: Blocked, ends: readonly string[], family: 4 | 6, risk: string): Step {
  const zone = `--zone="$(firewall-cmd --get-zone-of-interface=${shellWord(under?.name ?? 'eth0')})"`;
  const rich = (action: string) =>
    ends
      .map(
        (end) =>
          `firewall-cmd --permanent ${zone} --${action}-rich-rule='rule family=ipv${family} source address=${end} port port=${port} protocol=udp accept'`,
      )
      .join(' && ');
  return {
    step: `Let udp/${port} of the other nodes in by firewalld, which keeps that.`,
    run: `${rich('add')} && firewall-cmd --reload`,
    verify: `firewall-cmd ${zone} --list-rich-rules`,
    undo: `${rich('remove')} && firewall-cmd --reload`,
    risk: `${risk} A reload takes away what others wrote into firewalld’s tables: restart docker where it runs.`,
  };
}

function ufw({ port, way }: Blocked, ends: readonly string[], risk: string): Step {
  const rule = (action: string) =>
    ends
      .map((end) =>
        way === 'in'
          ? `ufw ${action}allow proto udp from ${end} to any port ${port}`
          : `ufw ${action}allow out proto udp to ${end} port ${port}`,
      )
      .join(' && ');
  return {
    step: `Let udp/${port} ${way === 'in' ? 'of the other nodes in' : 'to the other nodes out'} by ufw, which keeps that.`,
    run: rule(''),
    verify: `ufw status numbered | grep -w ${port}`,
    undo: rule('delete '),
    risk,
  };
}
