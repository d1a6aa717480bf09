import type { JsonSettings } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import {
  type CommandLineKinds,
  commandLineKnown,
  commandLineValue,
  flagNames,
  onCommandLine,
} from './daemon-json-flags.ts';
import type { Source } from './devices.ts';
import { setting } from './settings.ts';

type Kinds = CommandLineKinds | 'dockerVersion' | 'dockerInfo';

const FALSE = /^(0|f|false)$/i;

/** Settings that do not go together, each from the file or the command line; measured on dockerd 20.10.24. */
export function withoutIptables(source: Source<Kinds>, value: JsonSettings, at: At, major: number | null): Fault[] {
  const place = (name: string) => {
    const s = setting(value, name);
    if (s !== undefined) return at(s);
    const other = onCommandLine(source, [name]);
    return other === undefined ? [] : [other];
  };
  const of = (name: string) => {
    const given = setting(value, name)?.value ?? commandLineValue(source, name);
    return given === undefined || given === null ? null : !FALSE.test(`${given}`);
  };
  const written = ['icc', 'iptables', 'ip6tables'].some((name) => setting(value, name) !== undefined);
  if (!written) return [];
  const refuse = (key: string, reason: string, ...names: string[]): Fault[] => [
    { key, reason, at: names.flatMap(place), sure: true },
  ];
  if (of('icc') === false && of('iptables') === false)
    return refuse('icc', '"icc": false needs iptables, which "iptables": false forbids', 'icc', 'iptables');
  if (of('ip6tables') !== true || major === null || major >= 27 || major < 20) return [];
  if (of('experimental') !== true && commandLineKnown(source))
    return refuse('ip6tables', `"ip6tables" needs "experimental" before Docker 27, this is ${major}`, 'ip6tables');
  if (of('iptables') === false && major < 23)
    return refuse('ip6tables', '"ip6tables" does not go with "iptables": false', 'ip6tables', 'iptables');
  return [];
}

/** A bridge of one's own and the address of Docker's, one in the file, the other on the command line. */
export function bridgeAndBip(source: Source<Kinds>, value: JsonSettings, at: At, major: number | null): Fault[] {
  if (major === null || major >= 28) return [];
  for (const [name, other] of [
    ['bridge', 'bip'],
    ['bip', 'bridge'],
  ] as const) {
    const s = setting(value, name);
    const there = setting(value, other) === undefined ? onCommandLine(source, flagNames(other)) : undefined;
    if (typeof s?.value === 'string' && s.value !== '' && there !== undefined)
      return [
        { key: 'bridge-and-bip', reason: '"bridge" and "bip" exclude each other', at: [...at(s), there], sure: true },
      ];
  }
  return [];
}

/** Kinds of stores that Docker's own builds of 20.10 and before have in them. */
const STORE = /^(consul|etcd|zk):\/\//;
/** Debian's 20.10 has this one alone (measured). */
const STORE_OF_DEBIAN = /^zk:\/\//;

const versionText = (source: Source<Kinds>) => {
  const version = source.get('dockerVersion');
  const info = source.get('dockerInfo');
  return `${
    (version.missing ? undefined : setting(version.value, 'Server.Version')?.value) ??
    (info.missing ? undefined : setting(info.value, 'ServerVersion')?.value)
  }`;
};

/** The store of the swarm before swarm mode (until 20.10): one that this dockerd cannot have. */
export function clusterFaults(source: Source<Kinds>, value: JsonSettings, at: At, major: number | null): Fault[] {
  const advertise = setting(value, 'cluster-advertise');
  const store = setting(value, 'cluster-store');
  if (major === null || major >= 23) return [];
  const address = store === undefined ? commandLineValue(source, 'cluster-store') : `${store.value ?? ''}`;
  if (advertise?.value && !address && commandLineKnown(source))
    return [{ key: 'cluster', reason: '"cluster-advertise" needs "cluster-store"', at: at(advertise), sure: true }];
  if (!address || (store === undefined && !advertise?.value)) return [];
  const debian = /\+dfsg/.test(versionText(source));
  if ((debian ? STORE_OF_DEBIAN : STORE).test(address)) return [];
  // with --cluster-store alone one without a scheme is not looked at
  if (!debian && !/:\/\//.test(address)) return [];
  if (debian && !/:\/\//.test(address) && !advertise?.value) return [];
  const span = store ?? advertise;
  const reason = `this build of Docker has no cluster store "${address}"`;
  return span === undefined ? [] : [{ key: 'cluster', reason, at: at(span), sure: true }];
}

/** What a store of this kind has to say is not in a bundle; null: nothing is asked of one. */
export function openCluster(source: Source<Kinds>, value: JsonSettings, major: number | null): string | null {
  const store = setting(value, 'cluster-store');
  if (typeof store?.value !== 'string' || store.value === '' || (major !== null && major >= 23)) return null;
  if (!(/\+dfsg/.test(versionText(source)) ? STORE_OF_DEBIAN : STORE).test(store.value)) return null;
  return `whether dockerd comes up with "cluster-store" depends on its build and on ${store.value}, which was not asked`;
}
