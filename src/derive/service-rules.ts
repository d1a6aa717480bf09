import type { IptChain } from '../facts/firewall.ts';

/** A rule of KUBE-SERVICES that leads to the backends of a service. */
export interface ServiceRule {
  readonly index: number;
  readonly address: string;
  /** null: another one, or negated. */
  readonly proto: 'tcp' | 'udp' | null;
  readonly port: number | null;
  readonly comment: string | null;
  /** KUBE-SVC-... */
  readonly chain: string;
}

/** As kube-proxy writes them; without a comment in clusters of more than 1,000 endpoints. */
const USUAL =
  /^-A [^ ]+ -d (\d[\d.]*)(?:\/32)? -p (tcp|udp)(?: -m comment --comment (?:"([^"\\]*)"|([^ "\\]+)))? -m (?:tcp|udp) --dport (\d+) -j (KUBE-SVC-[^ ]+)$/;

/** Nodes of one cluster share the rules of a long chain: each array is read once. */
const known = new WeakMap<readonly string[], readonly ServiceRule[]>();

/** Those of one port: of thousands of rules few have it. */
export const serviceRulesAt = (chain: IptChain, port: number): readonly ServiceRule[] =>
  chain.texts().flatMap((text, index) => (text.includes(`--dport ${port} `) ? readRule(chain, text, index) : []));

function readRule(chain: IptChain, text: string, index: number): readonly ServiceRule[] {
  const m = USUAL.exec(text);
  if (m === null) {
    const rule = text.includes('KUBE-SVC-') ? tokenised(chain, index) : null;
    return rule === null ? [] : [rule];
  }
  const [, address = '', proto, quoted, plain, port, target = ''] = m;
  const comment = quoted ?? plain ?? null;
  return [{ index, address, proto: proto as 'tcp' | 'udp', port: Number(port), comment, chain: target }];
}

/** The services' rules of a chain, by their text where that is usual: a chain may have thousands. */
export function serviceRules(chain: IptChain): readonly ServiceRule[] {
  const texts = chain.texts();
  let found = known.get(texts);
  if (found === undefined) {
    found = texts.flatMap((text, index) => readRule(chain, text, index));
    known.set(texts, found);
  }
  return found;
}

function tokenised(chain: IptChain, index: number): ServiceRule | null {
  const { destination, protocol, target, comment, matches } = chain.rule(index);
  if (destination === undefined || destination.negated || target === undefined) return null;
  if (!target.name.startsWith('KUBE-SVC-')) return null;
  const named = protocol?.negated === false ? protocol.value : '';
  const option = matches.flatMap((m) => m.options).find((o) => o.flag === '--dport' && !o.negated);
  const port = Number(option?.values[0]);
  return {
    index,
    address: destination.value.replace(/\/32$/, ''),
    proto: named === 'tcp' || named === 'udp' ? named : null,
    port: Number.isInteger(port) ? port : null,
    comment: comment ?? null,
    chain: target.name,
  };
}
