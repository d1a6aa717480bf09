import type { IptRule, Ruleset } from '../facts/index.ts';

/** A rule that wants to keep somebody from a published port, and names it by the host's number. */
export interface HostPortRule {
  readonly rule: IptRule;
  /** The rule that turns the host's port into the container's before FORWARD, in the nat table of the same ruleset. */
  readonly turned: IptRule;
  readonly hostPort: number;
  readonly containerPort: number;
  /** Only packets from `-i` this device. */
  readonly from: string | null;
}

interface Published {
  readonly rule: IptRule;
  readonly proto: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** `-A DOCKER [-d H/32] ! -i b -p tcp -m tcp --dport P -j DNAT --to-destination c:p`, but those for loopback. */
function publishedIn(ruleset: Ruleset): readonly Published[] {
  const rules = ruleset.tables.get('nat')?.chains.get('DOCKER')?.rules() ?? [];
  return rules.flatMap((rule): readonly Published[] => {
    const m = / -p (\S+) .*--dport (\d+) .*-j DNAT --to-destination \S*:(\d+)\b/.exec(rule.text);
    if (m === null || / -d 127\./.test(rule.text)) return [];
    return [{ rule, proto: m[1] ?? '', hostPort: Number(m[2]), containerPort: Number(m[3]) }];
  });
}

/** `--dport 80`, `--dport 80:90`, `--dports 80,443,8000:8010`. */
function portsOf(text: string): readonly (readonly [from: number, to: number])[] | null {
  const list = / -m (?:tcp|udp|multiport) --dports? (\S+)/.exec(text)?.[1];
  if (list === undefined || /! --dport|--ctorigdstport/.test(text)) return null;
  return list.split(',').map((part) => {
    const [from = '0', to = from] = part.split(':');
    return [Number(from), Number(to)];
  });
}

/**
 * Rules of DOCKER-USER that name a port as the host has it. FORWARD comes after DNAT: a packet has the container's port by then. `own`: the rules
 * that keep somebody out; `taken`: ports that containers have besides. A rule whose ports some container has is left alone, as is one for what
 * containers send.
 */
export function hostPortRules(ruleset: Ruleset, own: readonly IptRule[], taken: ReadonlySet<number>): HostPortRule[] {
  if (!own.some((r) => r.text.includes(' --dport'))) return [];
  const published = publishedIn(ruleset);
  return own.flatMap((rule): HostPortRule[] => {
    const ports = portsOf(rule.text);
    const { protocol, inDevice, outDevice, source, destination } = rule;
    if (ports === null || protocol === undefined || protocol.negated || destination !== undefined) return [];
    if (source !== undefined && !source.negated) return [];
    if (outDevice !== undefined && !BRIDGE.test(outDevice.value)) return [];
    if (inDevice !== undefined && !inDevice.negated && BRIDGE.test(inDevice.value)) return [];
    const names = (port: number) => ports.some(([from, to]) => port >= from && port <= to);
    if ([...taken].some(names) || published.some((p) => names(p.containerPort))) return [];
    const one = published.find((p) => p.proto === protocol.value && names(p.hostPort));
    if (one === undefined) return [];
    const from = inDevice === undefined || inDevice.negated ? null : inDevice.value;
    const { hostPort, containerPort } = one;
    return [{ rule, turned: one.rule, hostPort, containerPort, from }];
  });
}

/** Names of the bridges that dockerd makes. */
export const BRIDGE = /^(docker0|docker_gwbridge|br-)/;

/** Does another of these rules keep packets from that port? One that names no port may. */
export function isGuarded(found: HostPortRule, own: readonly IptRule[]): boolean {
  return own.some((r) => {
    if (r === found.rule) return false;
    const ports = portsOf(r.text);
    if (ports === null) return !r.text.includes(' --dport');
    return ports.some(([from, to]) => found.containerPort >= from && found.containerPort <= to);
  });
}

/** The same rule by the port that the packet came for; null: it names a list, which conntrack does not take, or needs quotes in a shell. */
export function byOriginalPort({ rule }: HostPortRule): string | null {
  const text = rule.text.replace(/ -m (?:tcp|udp) --dport (\S+)/, ' -m conntrack --ctorigdstport $1 --ctdir ORIGINAL');
  return text === rule.text || !/^[\w .:/!,+@-]+$/.test(text) ? null : text.replace(/^-A DOCKER-USER /, '');
}
