import { shellWord } from '../core/shell.ts';

/** The commands that let a range of addresses through in the ruleset that drops it, and take that back. */
export interface AcceptCommands {
  readonly run: string;
  readonly verify: string;
  readonly undo: string;
}

/** `evidence` is the file of the deciding line: it tells whose ruleset that is. `place`: `filter/FORWARD > DOCKER-USER`, `nft inet guard fwd`. */
export function acceptRange(
  evidence: string,
  place: string,
  range: string,
  /** What comes to the range: all, or (of containers that only send) answers, so that no port is opened. */
  inward: 'all' | 'answers' = 'all',
): AcceptCommands {
  const native = /^nft (\S+) (\S+) (.+)$/.exec(place);
  if (native !== null) {
    const [, family, table, path = ''] = native;
    const chain = [family, table, path.split(' > ').at(-1)].map((word = '') => shellWord(word)).join(' ');
    const rule = (side: string) => {
      const answer = side === 'daddr' && inward === 'answers' ? ' ct state established,related' : '';
      return `nft insert rule ${chain} ip ${side} ${range}${answer} accept comment \\"netcase\\"`;
    };
    return {
      run: `${rule('daddr')}; ${rule('saddr')}`,
      verify: `nft -a list chain ${chain}   # the two rules stand in front of the one that drops`,
      undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
    };
  }
  const { iptables, table, chain } = rulesetOf(evidence, place);
  const rule = (action: string, side: string) => {
    // in raw nothing is tracked yet
    const narrow = side === '-d' && inward === 'answers' && table !== 'raw';
    const answer = narrow ? ' -m conntrack --ctstate RELATED,ESTABLISHED' : '';
    return `${iptables} ${action} ${chain} ${side} ${range}${answer} -j ACCEPT`;
  };
  return {
    run: `${rule('-I', '-d')}; ${rule('-I', '-s')}`,
    verify: `${rule('-C', '-d')} && ${rule('-C', '-s')} && echo accepted   # and the packets' counters of what dropped them stand still`,
    undo: `${rule('-D', '-d')}; ${rule('-D', '-s')}`,
  };
}

/** The same for frames that stay on one bridge, where br_netfilter shows them to the ruleset. */
export function acceptBridged(evidence: string, place: string, bridge: string): AcceptCommands {
  const native = /^nft (\S+) (\S+) (.+)$/.exec(place);
  if (native !== null) {
    const [, family, table, path = ''] = native;
    const chain = [family, table, path.split(' > ').at(-1)].map((word = '') => shellWord(word)).join(' ');
    const name = shellWord(bridge);
    return {
      run: `nft insert rule ${chain} iifname ${name} oifname ${name} accept comment \\"netcase\\"`,
      verify: `nft -a list chain ${chain}   # the rule stands in front of the one that drops`,
      undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
    };
  }
  const { iptables, chain } = rulesetOf(evidence, place);
  // nothing but FORWARD knows both ends
  const out = chain === 'FORWARD' ? ` -o ${shellWord(bridge)}` : '';
  const rule = (action: string) => `${iptables} ${action} ${chain} -i ${shellWord(bridge)}${out} -j ACCEPT`;
  return { run: rule('-I'), verify: `${rule('-C')} && echo accepted`, undo: rule('-D') };
}

/** The same for answers to what was let through once; null: in raw nothing is tracked yet, so nothing there can tell an answer. */
export function acceptAnswers(evidence: string, place: string): AcceptCommands | null {
  const native = /^nft (\S+) (\S+) (.+)$/.exec(place);
  if (native !== null) {
    const [, family, table, path = ''] = native;
    const chain = [family, table, path.split(' > ').at(-1)].map((word = '') => shellWord(word)).join(' ');
    return {
      run: `nft insert rule ${chain} ct state established,related accept comment \\"netcase\\"`,
      verify: `nft -a list chain ${chain}   # the rule stands in front of the one that drops`,
      undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
    };
  }
  const { iptables, table, chain } = rulesetOf(evidence, place);
  if (table === 'raw') return null;
  const rule = (action: string) =>
    `${iptables} ${action} ${chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`;
  return { run: rule('-I'), verify: `${rule('-C')} && echo accepted`, undo: rule('-D') };
}

/** The program whose ruleset a file shows. */
export function iptablesOf(evidence: string): 'iptables' | 'iptables-legacy' | 'iptables-nft' {
  return /legacy/.test(evidence) ? 'iptables-legacy' : /nft/.test(evidence) ? 'iptables-nft' : 'iptables';
}

export function rulesetOf(evidence: string, place: string): { iptables: string; table: string; chain: string } {
  const [table = 'filter', chain = 'FORWARD'] = (place.split(' > ', 1)[0] ?? '').split('/');
  const binary = iptablesOf(evidence);
  return { iptables: table === 'filter' ? binary : `${binary} -t ${shellWord(table)}`, table, chain: shellWord(chain) };
}
