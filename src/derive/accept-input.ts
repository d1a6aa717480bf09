import { shellWord } from '../core/shell.ts';
import type { Fact, FactKind, Ruleset } from '../facts/index.ts';
import { rulesetOf } from './accept-range.ts';
import type { Step } from './step.ts';

/** Connections to a port of the node itself that have to pass, and the rule that drops them. */
export interface Shut {
  /** Of the deciding line. */
  readonly fact: Fact<FactKind>;
  /** `filter/INPUT > ufw-reject-input`, `nft inet guard input`. */
  readonly place: string;
  readonly proto: 'tcp' | 'udp';
  readonly port: number;
  /** Those that come in by a device, or from addresses and ranges. */
  readonly from: { readonly device: string } | { readonly sources: readonly string[] };
}

/** So many addresses are written out in one command. */
const MOST = 32;

/** Lets them in by the ruleset that drops them, in that firewall's own words where it has some that last. */
export function acceptInput(shut: Shut): Step {
  const { fact, place, proto, port, from } = shut;
  const who = 'device' in from ? `by ${from.device}` : `from ${from.sources.slice(0, MOST).join(', ')}`;
  const risk = `Opens ${port}/${proto} of this node for what comes ${who}.`;
  const owner = ownerOf(fact, place);
  if (owner === 'ufw') {
    const rule = (action: string) =>
      rulesFor(
        from,
        (device) => `in on ${device}`,
        (source) => `from ${source}`,
      )
        .map((side) => `ufw ${action}allow ${side} to any port ${port} proto ${proto}`)
        .join(' && ');
    const step = `Let ${port}/${proto} in by ufw, which keeps that.`;
    return { step, run: rule(''), verify: `ufw status numbered | grep -w ${port}`, undo: rule('delete '), risk };
  }
  if (owner === 'firewalld') {
    const zone = `--zone="$(firewall-cmd --get-zone-of-interface=${'device' in from ? shellWord(from.device) : '"$(ip route show default | sed \'s/.* dev \\([^ ]*\\).*/\\1/;q\')"'})"`;
    const rule = (action: string) =>
      rulesFor(
        from,
        () => `--${action}-port=${port}/${proto}`,
        (source) =>
          `--${action}-rich-rule='rule family=ipv4 source address=${source} port port=${port} protocol=${proto} accept'`,
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
  const step = `Let ${port}/${proto} in, in front of the rule that drops it; then keep that with the tool that loads the rules.`;
  const native = /^nft (\S+) (\S+) (.+)$/.exec(place);
  if (native !== null) {
    const [, family, table, path = ''] = native;
    const chain = [family, table, path.split(' > ').at(-1)].map((word = '') => shellWord(word)).join(' ');
    const side =
      'device' in from ? `iifname "${from.device}"` : `ip saddr { ${from.sources.slice(0, MOST).join(', ')} }`;
    return {
      step,
      run: `nft insert rule ${chain} '${side} ${proto} dport ${port} accept comment "netcase"'`,
      verify: `nft -a list chain ${chain}   # the rule stands in front of the one that drops`,
      undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
      risk,
    };
  }
  const { iptables, chain } = rulesetOf(fact.evidence, place);
  const side = 'device' in from ? `-i ${shellWord(from.device)}` : `-s ${from.sources.slice(0, MOST).join(',')}`;
  const rule = (action: string) => `${iptables} ${action} ${chain} ${side} -p ${proto} --dport ${port} -j ACCEPT`;
  return { step, run: rule('-I'), verify: `${rule('-C')} && echo accepted`, undo: rule('-D'), risk };
}

function rulesFor(from: Shut['from'], device: (name: string) => string, source: (text: string) => string): string[] {
  return 'device' in from ? [device(shellWord(from.device))] : from.sources.slice(0, MOST).map(source);
}

/** Whose ruleset it is, by the chains that its maker never does without. */
function ownerOf({ kind, value }: Fact<FactKind>, place: string): 'ufw' | 'firewalld' | null {
  if (/^nft \S+ firewalld /.test(place)) return 'firewalld';
  if (!/^filter\//.test(place) || !/^iptables/.test(kind)) return null;
  const chains = (value as Ruleset).tables.get('filter')?.chains;
  if (chains?.has('ufw-user-input') === true) return 'ufw';
  return chains?.has('INPUT_ZONES') === true ? 'firewalld' : null;
}
