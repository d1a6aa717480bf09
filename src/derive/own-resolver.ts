import type { Fact, Sockets } from '../facts/index.ts';

/** Who answers for names on a loopback address of a namespace. */
export type OwnResolver =
  /** Somebody listens there, or a rule leads the question elsewhere. */
  | { readonly kind: 'answers'; readonly by: readonly string[] }
  /** The sockets were collected whole, and none is it; `certain`: no rule can lead the question elsewhere. */
  | { readonly kind: 'none'; readonly sockets: Fact<'netnsSockets'>; readonly certain: boolean }
  | { readonly kind: 'unknown'; readonly because: string };

interface InsideSource {
  at?(kind: 'netnsSockets', instance: string): Fact<'netnsSockets'> | undefined;
  at?(kind: 'netnsIptablesNft', instance: string): Fact<'netnsIptablesNft'> | undefined;
  at?(kind: 'netnsIptablesLegacy', instance: string): Fact<'netnsIptablesLegacy'> | undefined;
}

/** Docker's resolver listens on its address with a port of its own, and rules of the namespace lead port 53 there (dockerd 20.10, seen). */
const DOCKERS = '127.0.0.11';

export function ownResolver(source: InsideSource, inode: string, address: string): OwnResolver {
  const sockets = source.at?.('netnsSockets', inode);
  const listener = sockets?.value.listeners.find((l) => hears(l, address));
  if (listener !== undefined) return { kind: 'answers', by: listener.processes.map((p) => p.name) };
  const nft = source.at?.('netnsIptablesNft', inode);
  const legacy = source.at?.('netnsIptablesLegacy', inode);
  if ([nft, legacy].some((rules) => rules !== undefined && leadsAway(rules.value))) return { kind: 'answers', by: [] };
  if (sockets === undefined) return { kind: 'unknown', because: 'what listens in the namespace was not collected' };
  if (!sockets.closed) return { kind: 'unknown', because: 'what listens in the namespace was not collected whole' };
  return { kind: 'none', sockets, certain: nft?.closed === true || legacy?.closed === true };
}

function hears({ proto, address: bound, port, v6only }: Sockets['listeners'][number], address: string): boolean {
  if (proto !== 'udp' || (port !== 53 && !(address === DOCKERS && bound === DOCKERS))) return false;
  if (bound === address) return true;
  return address.includes(':') ? bound === '::' : bound === '0.0.0.0' || (bound === '::' && v6only !== true);
}

/** A rule of the table nat that names port 53. */
function leadsAway({ tables }: Fact<'netnsIptablesNft' | 'netnsIptablesLegacy'>['value']): boolean {
  const chains = tables.get('nat')?.chains.values() ?? [];
  return [...chains].some((chain) => chain.texts().some((text) => /--dports? (?:\S+,)?53(?:,| |$)/.test(text)));
}
