import type { NftJson, NftText } from '../facts/index.ts';
import type { Device } from './devices.ts';
import type { Doubt } from './doubt.ts';
import type { Packet } from './packet.ts';
import { end } from './run.ts';
import type { Space } from './space.ts';
import { type End, fork, type Way } from './way.ts';
import type { Port } from './wire.ts';

/** Where a packet comes in by a device or leaves by it, before and behind everything else. */
type Side = 'ingress' | 'egress';

/** Goes on past what sits on the device itself, which is not followed: it may drop the packet, or not. */
export function passDevice(
  way: Way,
  { space, device }: Port,
  packet: Packet,
  side: Side,
  next: (way: Way) => readonly End[],
): readonly End[] {
  const doubt = deviceDoubt(space, device, side);
  if (doubt === null) return next(way);
  const { holds, fails } = fork(way, space, doubt.key, doubt);
  return [
    ...(holds === undefined ? [] : end(holds, 'dropped', doubt.because, space, packet, `${side} ${device.name}`)),
    ...(fails === undefined ? [] : next(fails)),
  ];
}

function deviceDoubt(space: Space, device: Device, side: Side): Doubt | null {
  if (space.inode !== null) return null;
  const { name } = device;
  return space.once(`device hook ${side} ${name}`, () => {
    const found = nftDoubt(space, name, side) ?? tcDoubt(space, name, side) ?? xdpDoubt(device, side);
    return found === null ? null : { key: `${space.id} ${side} ${name}`, ...found, holds: true };
  });
}

type Found = Pick<Doubt, 'because' | 'evidence'> | null;

function nftDoubt({ node: { facts } }: Space, dev: string, side: Side): Found {
  const json = facts.get('nftJson');
  const fact = facts.get('nftText');
  const chains = fact.missing ? [] : fact.value.chains;
  const name = json.missing ? textChain(chains, dev, side) : jsonChain(json.value, chains, dev, side);
  const where = side === 'ingress' ? 'before' : 'behind';
  return name === null
    ? null
    : {
        because: `what nft chain ${name} does to packets on ${dev}, ${where} all others, is not followed`,
        evidence: ['fw.nft-json'],
      };
}

const nameOf = (c: { family: string; table: string; name: string }): string => `${c.family} ${c.table} ${c.name}`;

type TextChains = NftText['chains'];

/** nft 1.0.6 leaves the only device of a chain out of its JSON: there the text has it. */
function jsonChain({ chains, rules }: NftJson, texts: TextChains, dev: string, side: Side): string | null {
  const devOf = (c: NftJson['chains'][number]) => c.dev ?? texts.find((t) => nameOf(t) === nameOf(c))?.dev ?? dev;
  const chain = chains.find(
    (c) =>
      c.hook === side &&
      devOf(c).split(',').includes(dev) &&
      (c.policy === 'drop' || rules.some((r) => r.chain === c.name && r.table === c.table && r.family === c.family)),
  );
  return chain === undefined ? null : nameOf(chain);
}

function textChain(chains: TextChains, dev: string, side: Side): string | null {
  const chain = chains.find((c) => c.hook === side && (c.dev ?? dev).split(',').includes(dev));
  return chain === undefined ? null : nameOf(chain);
}

/** Filters and programs hang on these (tc-bpf(8)); netem loses packets by intent. Shapers only delay. */
const KINDS: Readonly<Record<Side, ReadonlySet<string>>> = {
  ingress: new Set(['clsact', 'ingress']),
  egress: new Set(['clsact', 'netem']),
};

function tcDoubt({ node: { facts }, label }: Space, dev: string, side: Side): Found {
  const fact = facts.get('qdiscs');
  if (fact.missing) return null;
  const entry = fact.value.entries.find((e) => e.dev === dev && KINDS[side].has(e.kind));
  if (entry === undefined) return null;
  const because = `what traffic control does to packets on ${dev} of ${label} is not followed (${entry.kind}, ${fact.path}:${entry.line})`;
  return { because, evidence: [fact.evidence] };
}

const xdpDoubt = (device: Device, side: Side): Found =>
  side === 'ingress' && device.xdp
    ? { because: `what the XDP program on ${device.name} does to packets is not followed`, evidence: [] }
    : null;
