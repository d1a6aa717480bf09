import { formatPrefix, parsePrefix, prefixCovers } from '../core/address.ts';
import { shellWord } from '../core/shell.ts';
import type { Fact, FactKind, LinkDevice, Ruleset } from '../facts/index.ts';
import { rulesetOf } from './accept-range.ts';
import type { Step } from './step.ts';

/** What the other end is: whatever comes in by a device, or addresses and networks of one family. */
type Ends = { readonly device: string } | { readonly addresses: readonly string[] };

/** Packets to one port that have to pass INPUT or OUTPUT, and the rule that drops them. */
export interface Shut {
  /** Of the deciding line. */
  readonly fact: Fact<FactKind>;
  /** `filter/INPUT > ufw-reject-input`, `nft inet guard input`. */
  readonly place: string;
  readonly proto: 'tcp' | 'udp';
  readonly port: number;
  /** To this node, from the ends; or to the ends. */
  readonly way: 'in' | 'out';
  readonly ends: Ends;
  /** By which addresses come in; firewalld’s zone is asked for by it. Absent: the device of the default route. */
  readonly door?: string | undefined;
  /** What whoever opens the port has to know. */
  readonly warning?: string;
}

/** So many addresses are written out in one command. */
export const MOST_LISTED = 32;

/** Lets them pass in the ruleset that drops them, in that firewall's own words where it has some that last. */
export function acceptPort(shut: Shut): Step {
  const risk = riskOf(shut);
  const owner = ownerOf(shut.fact, shut.place);
  const all = 'device' in shut.ends ? 0 : shut.ends.addresses.length;
  const made =
    owner === 'ufw'
      ? ufw(shut, risk)
      : owner === 'firewalld' && shut.way === 'in'
        ? firewalld(shut, risk)
        : shut.place.startsWith('nft ')
          ? nft(shut, risk)
          : iptables(shut, risk);
  if (all <= MOST_LISTED) return made;
  return { ...made, step: `${made.step} These are ${MOST_LISTED} of ${all} addresses: do it for the others, too.` };
}

/** The network of the device where it holds all addresses, else each of them. */
export function networkOrEach(addresses: readonly string[], under: LinkDevice | undefined): readonly string[] {
  const ips = addresses.flatMap((a) => parsePrefix(a) ?? []);
  for (const { address, prefixLength } of under?.addresses ?? []) {
    const net = parsePrefix(`${address}/${prefixLength}`);
    if (net !== null && ips.every((ip) => prefixCovers(net, ip))) return [formatPrefix(net)];
  }
  return addresses;
}

const written = (ends: Ends): readonly string[] => ('device' in ends ? [] : ends.addresses.slice(0, MOST_LISTED));
const isSix = (ends: Ends): boolean => written(ends)[0]?.includes(':') === true;

function riskOf({ proto, port, way, ends, warning }: Shut): string {
  const who = 'device' in ends ? `by ${ends.device}` : `${way === 'in' ? 'from' : 'to'} ${written(ends).join(', ')}`;
  const opens =
    way === 'in' ? `Opens ${port}/${proto} of this node for what comes ${who}` : `Lets ${port}/${proto} go ${who}`;
  return `${opens}${warning === undefined ? '' : `: ${warning}`}.`;
}

/** Whose ruleset it is, by the chains that its maker never does without. */
function ownerOf({ kind, value }: Fact<FactKind>, place: string): 'ufw' | 'firewalld' | null {
  if (/^nft \S+ firewalld /.test(place)) return 'firewalld';
  if (!/^filter\//.test(place) || !/^ip6?tables/.test(kind)) return null;
  const chains = (value as Ruleset).tables.get('filter')?.chains;
  if (chains?.has('ufw-user-input') === true || chains?.has('ufw6-user-input') === true) return 'ufw';
  return chains?.has('INPUT_ZONES') === true ? 'firewalld' : null;
}

function ufw(shut: Shut, risk: string): Step {
  const { proto, port, way, ends } = shut;
  const sides =
    'device' in ends
      ? [`in on ${shellWord(ends.device)} to any port ${port}`]
      : written(ends).map((end) => (way === 'in' ? `from ${end} to any port ${port}` : `out to ${end} port ${port}`));
  const rule = (action: string) => sides.map((side) => `ufw ${action}allow ${side} proto ${proto}`).join(' && ');
  return {
    step: `Let ${port}/${proto} ${shut.way} by ufw, which keeps that.`,
    run: rule(''),
    verify: `ufw status numbered | grep -w ${port}`,
    undo: rule('delete '),
    risk,
  };
}

const DEFAULT_DEVICE = `"$(ip route show default | sed 's/.* dev \\([^ ]*\\).*/\\1/;q')"`;

function firewalld({ proto, port, ends, door }: Shut, risk: string): Step {
  const device = 'device' in ends ? ends.device : door;
  const zone = `--zone="$(firewall-cmd --get-zone-of-interface=${device === undefined ? DEFAULT_DEVICE : shellWord(device)})"`;
  const family = isSix(ends) ? 'ipv6' : 'ipv4';
  const rule = (action: string) =>
    ('device' in ends
      ? [`--${action}-port=${port}/${proto}`]
      : written(ends).map(
          (end) =>
            `--${action}-rich-rule='rule family=${family} source address=${end} port port=${port} protocol=${proto} accept'`,
        )
    )
      .map((rest) => `firewall-cmd --permanent ${zone} ${rest}`)
      .concat('firewall-cmd --reload')
      .join(' && ');
  return {
    step: `Let ${port}/${proto} in by firewalld, which keeps that.`,
    run: rule('add'),
    verify: `firewall-cmd ${zone} --list-all | grep -w ${port}`,
    undo: rule('remove'),
    risk: `${risk} A reload takes away what others wrote into firewalld’s tables: restart docker where it runs.`,
  };
}

const stepOf = (shut: Shut): string =>
  `Let ${shut.port}/${shut.proto} ${shut.way}, in front of the rule that drops it; then keep that with the tool that loads the rules.`;

function nft(shut: Shut, risk: string): Step {
  const { place, proto, port, way, ends } = shut;
  const [, of, table, path = ''] = /^nft (\S+) (\S+) (.+)$/.exec(place) ?? [];
  const chain = [of, table, path.split(' > ').at(-1)].map((word = '') => shellWord(word)).join(' ');
  const side =
    'device' in ends
      ? `iifname "${ends.device}"`
      : `${isSix(ends) ? 'ip6' : 'ip'} ${way === 'in' ? 'saddr' : 'daddr'} { ${written(ends).join(', ')} }`;
  return {
    step: stepOf(shut),
    run: `nft insert rule ${chain} '${side} ${proto} dport ${port} accept comment "netcase"'`,
    verify: `nft -a list chain ${chain}   # the rule stands in front of the one that drops`,
    undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
    risk,
  };
}

function iptables(shut: Shut, risk: string): Step {
  const { fact, place, proto, port, way, ends } = shut;
  const found = rulesetOf(fact.evidence, place);
  const program = isSix(ends) ? found.iptables.replace(/^iptables/, 'ip6tables') : found.iptables;
  const side =
    'device' in ends ? `-i ${shellWord(ends.device)}` : `${way === 'in' ? '-s' : '-d'} ${written(ends).join(',')}`;
  const rule = (action: string) => `${program} ${action} ${found.chain} ${side} -p ${proto} --dport ${port} -j ACCEPT`;
  return { step: stepOf(shut), run: rule('-I'), verify: `${rule('-C')} && echo accepted`, undo: rule('-D'), risk };
}
