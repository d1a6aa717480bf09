import type { Span } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import { dockerMajor } from './daemon-json.ts';
import type { Source } from './devices.ts';
import { flag, setting } from './settings.ts';

export const DOCKER_DAEMON_KINDS = [
  'dockerdArgs',
  'daemonJson',
  'dockerUnit',
  'dockerInfo',
  'dockerVersion',
] as const satisfies readonly FactKind[];
export type DockerDaemonKinds = (typeof DOCKER_DAEMON_KINDS)[number];

export interface Told {
  readonly fact: Fact<FactKind>;
  readonly span: Span;
}

/** As Go reads a switch. */
const FALSE = /^(0|f|false)$/i;

/**
 * Whether dockerd writes rules of iptables: `no` with the line that says so. `unknown`: a file that could say so was not collected. That
 * the file was not changed since dockerd started is not known.
 */
export function writesRules(
  source: Source<DockerDaemonKinds>,
):
  | { readonly answer: 'yes' }
  | ({ readonly answer: 'no' } & Told)
  | { readonly answer: 'unknown'; evidence: string[] } {
  const args = source.get('dockerdArgs');
  const file = source.get('daemonJson');
  const unit = source.get('dockerUnit');
  const given = args.missing ? undefined : flag(args.value, 'iptables');
  if (!args.missing && given !== undefined && FALSE.test(given.value)) return { answer: 'no', fact: args, span: given };
  const written = file.missing ? undefined : setting(file.value, 'iptables');
  if (!file.missing && written?.value === false) return { answer: 'no', fact: file, span: written };
  const start = unit.missing
    ? undefined
    : unit.value.entries.findLast((e) => e.section === 'Service' && e.key === 'ExecStart');
  if (args.missing && !unit.missing && start !== undefined && /\s--?iptables=["']?(0|f|false)\b/i.test(start.value))
    return { answer: 'no', fact: unit, span: start };
  const evidence: string[] = [];
  if (given === undefined && (args.missing || !args.closed)) evidence.push('docker.cmdline');
  if (written === undefined && (file.missing ? !file.lookedFor : !file.closed)) evidence.push('docker.daemon-json');
  return evidence.length === 0 ? { answer: 'yes' } : { answer: 'unknown', evidence };
}

/** dockerd's --ip-masq=false, which holds for its default network alone; null: not told so. */
export function unmasqueraded(source: Source<'dockerdArgs' | 'daemonJson'>): Told | null {
  const args = source.get('dockerdArgs');
  const given = args.missing ? undefined : flag(args.value, 'ip-masq');
  if (!args.missing && given !== undefined && FALSE.test(given.value)) return { fact: args, span: given };
  const file = source.get('daemonJson');
  const written = file.missing ? undefined : setting(file.value, 'ip-masq');
  return !file.missing && written?.value === false ? { fact: file, span: written } : null;
}

/** Rootless dockerd has its networks and rules in a namespace of its own. */
export function rootless(source: Source<DockerDaemonKinds>): Told | null {
  const info = source.get('dockerInfo');
  const says = info.missing
    ? undefined
    : info.value.settings.find((s) => /^SecurityOptions\.\d+$/.test(s.path) && /\bname=rootless\b/.test(`${s.value}`));
  if (!info.missing && says !== undefined) return { fact: info, span: says };
  const args = source.get('dockerdArgs');
  const given = args.missing ? undefined : flag(args.value, 'rootless');
  return !args.missing && given !== undefined && !FALSE.test(given.value) ? { fact: args, span: given } : null;
}

/** What dockerd writes its rules with: since 29 it can be nft itself, in tables named docker-bridges. null: not known. */
export function firewallBackend(source: Source<DockerDaemonKinds>): 'iptables' | 'nftables' | null {
  const info = source.get('dockerInfo');
  const says = info.missing ? undefined : setting(info.value, 'FirewallBackend.Driver')?.value;
  const args = source.get('dockerdArgs');
  const given = args.missing ? undefined : flag(args.value, 'firewall-backend')?.value;
  const file = source.get('daemonJson');
  const written = file.missing ? undefined : setting(file.value, 'firewall-backend')?.value;
  for (const said of [says, given, written]) {
    const known = /^(iptables|nftables)\b/.exec(`${said}`)?.[1];
    if (known !== undefined) return known as 'iptables' | 'nftables';
  }
  const version = dockerMajor(source);
  return version !== null && version.major < 29 ? 'iptables' : null;
}
