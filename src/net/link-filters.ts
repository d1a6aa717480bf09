import type { Fact } from '../facts/index.ts';
import type { Device } from './devices.ts';
import type { Reason } from './doubt.ts';
import type { Space } from './space.ts';

/** Filters of the bridge itself, which are not followed; null: there are none. */
export function bridgeFilters(space: Space, bridge: Device): Reason | null {
  if (bridge.bridge.vlanFiltering === true)
    return {
      because: `VLAN filtering of ${bridge.name} on ${space.label} is not followed`,
      evidence: ['bridge.vlan-json'],
    };
  return ofHost(space, 'bridge filters', () => nftFilters(space, 'bridge') ?? ebtables(space));
}

/** Filters of ARP (nft, arptables-nft), which are not followed; null: there are none. */
export const arpFilters = (space: Space): Reason | null => ofHost(space, 'arp filters', () => nftFilters(space, 'arp'));

/** Of the host's namespace; what others have is not collected. */
const ofHost = (space: Space, key: string, find: () => Reason | null): Reason | null =>
  space.inode === null ? space.once(key, find) : null;

/** Tables of a family, of the text form where there is no other. */
function nftFilters(space: Space, family: 'bridge' | 'arp'): Reason | null {
  const json = space.node.facts.get('nftJson');
  const fact: Fact<'nftJson' | 'nftText'> | null = json.missing ? nftText(space) : json;
  if (fact === null) return null;
  const base = fact.value.chains.filter((c) => c.family === family && c.hook !== undefined);
  const rules = fact.value.rules.some((r) => r.family === family);
  if (!base.some((c) => c.policy === 'drop') && (base.length === 0 || !rules)) return null;
  return {
    because: `nft rules of the ${family} family (${base[0]?.table ?? ''}) of ${space.label} are not followed`,
    evidence: [fact.evidence],
  };
}

function nftText(space: Space): Fact<'nftText'> | null {
  const text = space.node.facts.get('nftText');
  return text.missing ? null : text;
}

/** ebtables-save: what lets every frame pass as it is says nothing. */
function ebtables(space: Space): Reason | null {
  const fact = space.node.facts.get('ebtables');
  if (fact.missing) return null;
  const line = fact.value.lines.find(({ text }) => /^:\S+ DROP\b/.test(text) || isRule(text));
  if (line === undefined) return null;
  return {
    because: `ebtables rules of ${space.label} are not followed (${fact.path}:${line.line})`,
    evidence: [fact.evidence],
  };
}

const isRule = (text: string): boolean =>
  /^(\[\d+:\d+\] )?-A \S/.test(text) && !/ -j (ACCEPT|CONTINUE)( |$)/.test(text);
