import type { NonEmpty } from '../core/span.ts';
import { isNonEmpty } from '../core/span.ts';
import type { Fact, FactKind } from '../facts/index.ts';
import type { DeviceKinds, Source } from './devices.ts';
import { type DockerDaemonKinds, rootless, type Told, writesRules } from './docker-daemon.ts';
import { externalNetworks, type ForwardedNetwork, forwardedNetworks } from './docker-networks.ts';

/** Docker's networks of which rules are asked for; else why none are, with what says so. */
export type DockerSubject =
  | {
      readonly kind: 'asked';
      readonly networks: NonEmpty<ForwardedNetwork>;
      /** That dockerd runs, with a network here. */
      runs(network: ForwardedNetwork): NonEmpty<Told>;
    }
  | { readonly kind: 'none'; readonly because: string; readonly told?: Told; readonly lacks?: Lacking }
  | { readonly kind: 'open'; readonly because: string; readonly evidence: readonly string[] };

/** A file that was collected whole and does not hold something. */
interface Lacking {
  readonly fact: Fact<FactKind>;
  readonly what: string;
}

const isDockerOption = (name: string) => name.startsWith('com.docker.network.');

/** A dockerd that writes rules in the node's own namespace, and its networks that lead out of the node. */
export function dockerSubject(source: Source<DeviceKinds | DockerDaemonKinds>): DockerSubject {
  const dockerdArgs = source.get('dockerdArgs');
  if (dockerdArgs.missing && dockerdArgs.lookedFor)
    return { kind: 'none', because: 'dockerd does not run on this node' };
  const writes = writesRules(source);
  if (writes.answer === 'no')
    return { kind: 'none', because: 'dockerd is told to write no rules (iptables=false)', told: writes };
  return runningSubject(source);
}

/** The same of any dockerd that runs, whether or not it writes rules. */
export function runningSubject(source: Source<DeviceKinds | DockerDaemonKinds>): DockerSubject {
  const dockerdArgs = source.get('dockerdArgs');
  const networks = source.get('dockerNetworks');
  const unit = source.get('dockerUnit');
  const addresses = source.get('addresses');
  const other = rootless(source);
  if (other !== null)
    return { kind: 'none', because: 'dockerd is rootless: its networks are in a namespace of its own', told: other };
  if (networks.missing)
    return open(`which networks Docker has: docker.network-inspect ${networks.because}`, 'docker.network-inspect');
  const isDockers = networks.value.networks.some(
    (n) => n.driver === 'host' || Object.keys(n.options).some(isDockerOption),
  );
  if (dockerdArgs.missing && !isDockers)
    return open('whether dockerd or another program answered for docker (podman does)', 'docker.cmdline');
  const state = unit.missing
    ? undefined
    : unit.value.properties.find((p) => p.key === 'ActiveState' && /^(de)?activating$/.test(p.value));
  if (state !== undefined) return open(`docker.service was ${state.value} just then`, 'docker.unit');
  const external = externalNetworks(networks);
  if (external.length === 0) {
    if (!networks.closed) return open('the list of Docker’s networks is not whole', 'docker.network-inspect');
    const lacks = { fact: networks, what: 'a network of driver bridge that is not internal' };
    return { kind: 'none', because: 'Docker has no bridge network that leads out of the node', lacks };
  }
  if (addresses.missing)
    return open(`whether Docker’s bridges are on this node: ip.addr ${addresses.because}`, 'ip.addr');
  const all = forwardedNetworks(source, networks, addresses);
  if (isNonEmpty(all)) {
    const process = dockerdArgs.missing ? undefined : dockerdArgs.value.processes[0];
    return {
      kind: 'asked',
      networks: all,
      runs: ({ device, line }) => [
        dockerdArgs.missing || process === undefined
          ? { fact: networks, span: { line } }
          : { fact: dockerdArgs, span: { line: process.line } },
        { fact: addresses, span: { line: device.line } },
      ],
    };
  }
  const there = addresses.value.devices.some((d) => external.some((n) => n.bridge === d.name));
  const shown = addresses.value.devices.some((d) => d.addresses.length > 0);
  if (there && shown && addresses.closed) {
    const lacks = { fact: addresses, what: 'an IPv4 address of a bridge of Docker' };
    return { kind: 'none', because: 'Docker’s bridges have no IPv4 address', lacks };
  }
  const because =
    'none of Docker’s bridges is a device with an address here: dockerd has its networks in another namespace, or they were removed';
  return open(because, ...(there ? ['ip.addr'] : ['docker.info-json', 'ip.addr']));
}

const open = (because: string, ...evidence: readonly string[]): DockerSubject => ({ kind: 'open', because, evidence });
