import type { Fact } from '../facts/index.ts';
import { type Addr, formatAddr, isLinkLocal, isLoopback } from './addr.ts';
import { type Device, type DeviceTable, readDevices } from './devices.ts';
import { type Cite, cite, type Reason } from './doubt.ts';
import { factOf } from './instance.ts';
import { readSets, type SetTable } from './ipset.ts';
import type { NetNode } from './model.ts';
import { Routing } from './routing.ts';
import { type RuleSources, readRuleSources } from './rulesets.ts';

/** A sysctl, and where it stands. `value` null: not collected. */
export interface Setting {
  readonly value: number | null;
  readonly cite: Cite | null;
  readonly reason: Reason;
}

/** A network namespace of a node; everything in it is read on first use and kept. */
export class Space {
  readonly node: NetNode;
  /** Inode as in `netns/<inode>/`; null: the host's own. */
  readonly inode: string | null;
  readonly id: string;
  #devices: DeviceTable | undefined;
  #sysctl: Map<string, { value: string; cite: Cite }> | undefined;
  #sources = new Map<4 | 6, RuleSources>();
  #routing = new Map<4 | 6, Routing>();
  #sets: SetTable | undefined;
  readonly #kept = new Map<string, unknown>();

  constructor(node: NetNode, inode: string | null) {
    this.node = node;
    this.inode = inode;
    this.id = `${node.id}/${inode ?? 'host'}`;
  }

  /** `node-a`, or `10.244.1.10 on node-a` for a namespace inside it. */
  get label(): string {
    if (this.inode === null) return this.node.id;
    return this.once('label', () => {
      const own = this.devices.addresses.find((a) => !isLoopback(a.addr) && !isLinkLocal(a.addr));
      return own === undefined
        ? `netns ${this.inode} on ${this.node.id}`
        : `${formatAddr(own.addr)} on ${this.node.id}`;
    });
  }

  /** What `find` found when it was first asked under this key: for what depends on nothing but the namespace. */
  once<T>(key: string, find: () => T): T {
    let kept = this.#kept.get(key);
    if (kept === undefined && !this.#kept.has(key)) {
      kept = find();
      this.#kept.set(key, kept);
    }
    // whoever asks under a key always finds the same kind of thing
    return kept as T;
  }

  get devices(): DeviceTable {
    this.#devices ??= readDevices(this);
    return this.#devices;
  }

  device(name: string): Device | undefined {
    return this.devices.byName.get(name);
  }

  owns(addr: Addr): boolean {
    return this.devices.own.has(addr);
  }

  routing(family: 4 | 6): Routing {
    let routing = this.#routing.get(family);
    if (routing === undefined) {
      routing = new Routing(this, family);
      this.#routing.set(family, routing);
    }
    return routing;
  }

  rules(family: 4 | 6): RuleSources {
    let sources = this.#sources.get(family);
    if (sources === undefined) {
      sources = readRuleSources(this, family);
      this.#sources.set(family, sources);
    }
    return sources;
  }

  get sets(): SetTable {
    this.#sets ??= readSets(this);
    return this.#sets;
  }

  /** A number of /proc/sys, `key` as there: `net/ipv4/conf/eth0/rp_filter`. */
  sysctl(key: string): Setting {
    this.#sysctl ??= this.#readSysctl();
    const found = this.#sysctl.get(key);
    const reason = {
      because: `${key} of ${this.label} was not collected`,
      evidence: [this.inode === null ? 'sys.sysctl' : 'netns.sysctl'],
    };
    if (found === undefined || !/^-?\d+$/.test(found.value)) return { value: null, cite: null, reason };
    return { value: Number(found.value), cite: found.cite, reason };
  }

  /** The setting's text. */
  text(key: string): string | undefined {
    this.#sysctl ??= this.#readSysctl();
    return this.#sysctl.get(key)?.value;
  }

  /** The settings were collected whole: one that is not there does not exist. */
  get sysctlsClosed(): boolean {
    return this.#sysctlFact()?.closed === true;
  }

  #readSysctl(): Map<string, { value: string; cite: Cite }> {
    const map = new Map<string, { value: string; cite: Cite }>();
    const fact = this.#sysctlFact();
    for (const entry of fact?.value.values ?? []) map.set(entry.key, { value: entry.value, cite: cite(fact!, entry) });
    return map;
  }

  #sysctlFact(): Fact<'sysctl'> | Fact<'netnsSysctl'> | undefined {
    const { facts } = this.node;
    if (this.inode !== null) return factOf(facts, 'netnsSysctl', this.inode);
    const fact = facts.get('sysctl');
    return fact.missing ? undefined : fact;
  }
}
