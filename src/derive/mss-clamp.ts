import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { Source } from './devices.ts';

const RULESETS = ['iptables', 'iptablesNft', 'iptablesLegacy'] as const;

/** A rule that gives the TCP that a node forwards a largest segment. */
export interface MssClamp {
  /** Bytes of TCP data in a packet; with IPv4 and TCP headers it has 40 more. */
  readonly mss: number;
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

/**
 * The rule that holds what containers send by the device to a fixed size, whoever they are. A sender goes by the segment size in the other side's SYN,
 * so a rule with `-o` of the device holds the other side alone. Measured: `--clamp-mss-to-pmtu` takes the MTU of the overlay device and the route
 * into it, not of what is under it, so that it does nothing against an overlay that is too large.
 */
export function mssClamp(source: Source<(typeof RULESETS)[number]>, dev: string): MssClamp | null {
  for (const kind of RULESETS) {
    const fact = source.get(kind);
    if (fact.missing) continue;
    for (const name of ['mangle', 'filter']) {
      const chain = fact.value.tables.get(name)?.chains.get('FORWARD');
      for (const [index, text] of (chain?.texts() ?? []).entries()) {
        const mss = text.includes('-j TCPMSS') ? clampIn(text, dev) : null;
        if (chain !== undefined && mss !== null) return { mss, fact, span: chain.rule(index) };
      }
    }
  }
  return null;
}

const PLAIN =
  /^ -p tcp( -m tcp)?( --tcp-flags (SYN,RST|FIN,SYN,RST,ACK|SYN,ACK,RST) SYN| --syn)?( -m tcpmss --mss \d+:\d+)?$/;

function clampIn(text: string, dev: string): number | null {
  const m = /^(?:\[\d+:\d+\] )?-A FORWARD(?: -i (\S+))?( .*) -j TCPMSS --set-mss (\d+)$/.exec(text);
  if (m === null || (m[1] !== undefined && m[1] !== dev) || !PLAIN.test(m[2] ?? '')) return null;
  return Number(m[3]);
}
