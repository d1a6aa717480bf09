/** The commands that let a range of addresses through in the ruleset that drops it, and take that back. */
export interface AcceptCommands {
  readonly run: string;
  readonly verify: string;
  readonly undo: string;
}

/** `evidence` is the file of the deciding line: it tells whose ruleset that is. `place`: `filter/FORWARD > DOCKER-USER`, `nft inet guard fwd`. */
export function acceptRange(evidence: string, place: string, range: string): AcceptCommands {
  const native = /^nft (\S+) (\S+) (.+)$/.exec(place);
  if (native !== null) {
    const [, family, table, path = ''] = native;
    const chain = `${family} ${table} ${path.split(' > ').at(-1)}`;
    const rule = (side: string) => `nft insert rule ${chain} ip ${side} ${range} accept comment \\"netcase\\"`;
    return {
      run: `${rule('daddr')}; ${rule('saddr')}`,
      verify: `nft -a list chain ${chain}   # the two rules stand in front of the one that drops`,
      undo: `for h in $(nft -a list chain ${chain} | sed -n 's/.*"netcase" # handle //p'); do nft delete rule ${chain} handle $h; done`,
    };
  }
  const [table = 'filter', chain = 'FORWARD'] = (place.split(' > ', 1)[0] ?? '').split('/');
  const binary = /legacy/.test(evidence) ? 'iptables-legacy' : /nft/.test(evidence) ? 'iptables-nft' : 'iptables';
  const rule = (action: string, side: string) =>
    `${binary}${table === 'filter' ? '' : ` -t ${table}`} ${action} ${chain} ${side} ${range} -j ACCEPT`;
  return {
    run: `${rule('-I', '-d')}; ${rule('-I', '-s')}`,
    verify: `${rule('-C', '-d')} && ${rule('-C', '-s')} && echo accepted   # and the packets' counters of what dropped them stand still`,
    undo: `${rule('-D', '-d')}; ${rule('-D', '-s')}`,
  };
}
