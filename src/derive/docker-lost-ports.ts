import type { Fact, FactKind } from '../facts/index.ts';
import { acceptanceOf, type PortRule, portNames, type RuledPort, translationOf } from './docker-published.ts';
import type { Question } from './docker-questions.ts';
import type { DockerTable } from './docker-rules.ts';
import { OUTSIDE } from './pods.ts';

/** The first packet of a client outside, as it comes in. */
export interface Knock {
  readonly src: string;
  readonly dst: string;
  readonly proto: 'tcp' | 'udp';
  readonly dport: number;
  readonly iif: string;
}

/** A line that decided, and the chain it stands in. */
interface Decider {
  readonly fact: Fact<FactKind>;
  readonly line: number;
  readonly text: string;
  readonly place: string;
}

/** What the node's rulesets do to a packet: src/net. */
interface Asking {
  /** An address of the node that clients use for the port, and the device that they come in by. */
  door(hostIp: string | null): { readonly address: string; readonly device: string } | null;
  destination(sample: Knock): Question & {
    readonly outcomes: readonly { readonly to: string | null; readonly decider: Decider | null }[];
  };
  forward(
    sample: Knock,
    oif: string,
  ): Question & { readonly verdict: 'accept' | 'drop' | 'unknown'; readonly deciders: readonly Decider[] };
}

/** What becomes of packets for a published port whose rule of Docker's is gone. */
interface Fate {
  /** Drops them, or sends them elsewhere. */
  readonly decider: Decider | null;
  /** `172.17.0.9:80`: another rule gives them another destination. */
  readonly sentTo: string | null;
}

export type LostPort = Fate & { readonly port: RuledPort };

/** So many ports of a node are followed through its rulesets, where Docker's own rule for them was not seen. */
const MOST_ASKED = 4;

/** Published ports without their rule in a table, and those of which that is not known. `own`: a rule of Docker's that is there; `more`: there are more without theirs. */
export function lostPorts(
  ports: readonly RuledPort[],
  table: DockerTable,
  written: Readonly<Record<DockerTable, readonly PortRule[]>>,
  asking: Asking,
  backend: 'iptables' | 'nftables' | null,
): {
  readonly lost: readonly LostPort[];
  readonly open: readonly Question[];
  readonly own: PortRule | null;
  readonly more: boolean;
} {
  const lost: LostPort[] = [];
  const open: Question[] = [];
  let own: PortRule | null = null;
  let asked = 0;
  for (const port of ports) {
    const rule = table === 'nat' ? translationOf(port, written.nat) : acceptanceOf(port, written.filter);
    if (rule !== undefined) {
      own ??= rule;
      continue;
    }
    asked += 1;
    if (asked > MOST_ASKED) break;
    const fate = table === 'nat' ? fateInNat(port, asking) : fateInFilter(port, written.nat, asking, backend);
    const what = `whether packets come to published port ${port.hostPort}/${port.proto} of container ${port.container}`;
    if (fate === 'well') continue;
    if ('because' in fate) open.push({ ...fate, because: `${what}: ${fate.because}` });
    else if (port.young !== null)
      open.push({ because: `${what}: ${port.young}, perhaps after the rules were read`, evidence: [] });
    else lost.push({ port, ...fate });
  }
  return { lost, open, own, more: asked > MOST_ASKED };
}

const undecided = (because: string, ...evidence: readonly string[]): Question => ({ because, evidence });

/** The port as a client outside sees it; else why it cannot be asked for. */
function knock({ hostIp, hostPort, proto }: RuledPort, { door }: Asking): Knock | Question {
  if (proto !== 'tcp' && proto !== 'udp') return undecided(`packets of ${proto} are not followed`);
  const at = door(hostIp);
  if (at === null)
    return undecided('by which address of the node it is reached from outside is not known', 'ip.addr', 'ip.route4');
  return { src: OUTSIDE, dst: at.address, proto, dport: hostPort, iif: at.device };
}

const OTHER_SORT = undecided('its container has networks of other sorts, by which it may lead');

/** No rule of Docker's for it was seen: does another lead to the container? */
function fateInNat(port: RuledPort, asking: Asking): 'well' | Fate | Question {
  const sample = knock(port, asking);
  if ('because' in sample) return sample;
  const { outcomes, because, evidence } = asking.destination(sample);
  const isIts = (to: string | null) => port.targets.some((t) => to === `${t.ip}:${port.containerPort}`);
  if (outcomes.length > 0 && outcomes.every((o) => isIts(o.to))) return 'well';
  const [only] = outcomes;
  if (only === undefined || outcomes.length > 1) return undecided(because, ...evidence);
  const { to, decider } = only;
  if (to === null) return undecided(`"${decider?.text ?? 'a rule'}" drops them before nat`);
  if (to === `${sample.dst}:${sample.dport}`) return { decider: null, sentTo: null };
  return port.elsewhere ? OTHER_SORT : { decider, sentTo: to };
}

/** No rule of Docker's lets it in: does another, or nothing keep it out? */
function fateInFilter(
  port: RuledPort,
  translated: readonly PortRule[],
  asking: Asking,
  backend: 'iptables' | 'nftables' | null,
): 'well' | Fate | Question {
  const sample = knock(port, asking);
  if ('because' in sample) return sample;
  if (port.elsewhere) return OTHER_SORT;
  const own = translationOf(port, translated);
  // what nobody translates does not come to FORWARD: nat's loss is told
  if (own === undefined && fateInNat(port, asking) !== 'well') return 'well';
  const target = port.targets.find((t) => own?.target === `${t.ip}:${port.containerPort}`) ?? port.targets[0];
  if (target === undefined) return 'well';
  const { verdict, because, evidence, deciders } = asking.forward(sample, target.bridge);
  const [decider = null] = deciders;
  if (verdict === 'unknown') return undecided(because, ...evidence);
  if (verdict === 'drop') return { decider, sentTo: null };
  // with nft the rules have another form: what lets packets in is taken for it
  const isOwn = backend !== 'iptables' || / > DOCKER$/.test(decider?.place ?? '');
  return isOwn ? 'well' : { decider: null, sentTo: null };
}

/** `9001/tcp to 172.17.0.2:9000`, `tcp 9000 at 172.17.0.2`. */
export function lackOf({ hostPort, proto, containerPort, targets }: RuledPort, table: DockerTable): string {
  const ip = targets[0]?.ip;
  return table === 'nat' ? `${hostPort}/${proto} to ${ip}:${containerPort}` : `${containerPort}/${proto} at ${ip}`;
}

/** What it means for clients; `named` quotes a line. */
export function effectOnPorts(
  table: DockerTable,
  { lost, more }: { readonly lost: readonly LostPort[]; readonly more: boolean },
  named: (decider: Decider) => string,
): { readonly says: string; readonly severity: 'high' | 'medium' } {
  const names = portNames(lost.map((l) => l.port)) + (more ? ' …' : '');
  const several = lost.length > 1;
  const ports = several ? `published ports ${names}` : `published port ${names}`;
  if (table === 'filter') {
    const drop = lost.find((l) => l.decider !== null);
    if (drop?.decider == null)
      return {
        says: `its rules in FORWARD that let packets in at ${ports} are gone: nothing else drops them for now`,
        severity: 'medium',
      };
    const says = `its rules in FORWARD that let packets in at ${ports} are gone: ${named(drop.decider)} drops them`;
    return { says, severity: 'high' };
  }
  const astray = lost.find((l) => l.sentTo !== null);
  if (astray?.decider == null) {
    const they = several
      ? 'they answer only where docker-proxy takes them'
      : 'it answers only where docker-proxy takes it';
    return {
      says: `its rules in nat for ${ports} are gone: ${they}, every client with the bridge’s address`,
      severity: 'high',
    };
  }
  const says = `its rules in nat for ${ports} are gone: ${named(astray.decider)} sends packets for ${astray.port.hostPort}/${astray.port.proto} to ${astray.sentTo}`;
  return { says, severity: 'high' };
}
