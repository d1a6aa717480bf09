import type { Sysctls } from '../facts/index.ts';
import type { Draft, FdbEdit, NeighbourEdit, SysctlEdit } from './what-if-changes.ts';
import { ChangeError } from './what-if-changes.ts';
import { hasDevice } from './what-if-links.ts';

const FAMILY_FORWARDING = /^net\/ipv(4|6)\/conf\/all\/forwarding$/;

/** Sets a value, and what the kernel sets with it: ip_forward and conf/all/forwarding are one, and copy themselves to every device when they change. */
export function changeSysctl(draft: Draft, { key, value }: SysctlEdit): void {
  const fact = draft.need('sysctl', 'the settings');
  const device = /^net\/ipv[46]\/conf\/([^/]+)\//.exec(key)?.[1];
  if (device !== undefined && device !== 'all' && device !== 'default' && !hasDevice(draft, device))
    throw new ChangeError(`there is no device ${device} on ${draft.node}, so it has no ${key}`);
  let values = fact.value.values;
  const at = { line: draft.mark };
  const set = (name: string) => {
    const known = values.some((v) => v.key === name);
    values = known
      ? values.map((v) => (v.key === name ? { key: name, value, ...at } : v))
      : [...values, { key: name, value, ...at }];
  };
  const main = key === 'net/ipv4/ip_forward' ? 'net/ipv4/conf/all/forwarding' : key;
  const family = FAMILY_FORWARDING.exec(main)?.[1];
  if (family === undefined) set(key);
  else {
    const all = [main, ...(family === '4' ? ['net/ipv4/ip_forward'] : [])];
    const before = values.find((v) => all.includes(v.key))?.value;
    if (before === undefined)
      throw new ChangeError(
        `${key} of ${draft.node} was not collected, so whether the command changes anything is not known`,
      );
    if (truthy(before) !== truthy(value)) {
      const prefix = `net/ipv${family}/conf/`;
      for (const name of all) set(name);
      for (const v of fact.value.values) if (v.key.startsWith(prefix) && v.key.endsWith('/forwarding')) set(v.key);
    }
  }
  draft.write('sysctl', { values } satisfies Sysctls);
}

const truthy = (text: string) => Number(text) !== 0;

/** `ip neigh`; a removed entry is asked for again by ARP. */
export function changeNeighbour(draft: Draft, { op, entry }: NeighbourEdit): void {
  const fact = draft.need('neighbours', 'the neighbours');
  if (!hasDevice(draft, entry.dev)) throw new ChangeError(`there is no device ${entry.dev} on ${draft.node}`);
  const same = (e: { ip: string; dev: string }) => e.ip === entry.ip && e.dev === entry.dev;
  const there = fact.value.entries.some(same);
  const what = `a neighbour ${entry.ip} on ${entry.dev} of ${draft.node}`;
  if (op === 'add' && there) throw new ChangeError(`there is ${what} already: ip neigh add is refused, replace is not`);
  if ((op === 'del' || op === 'change') && !there) throw new ChangeError(`there is not ${what}`);
  const entries = fact.value.entries.filter((e) => !same(e));
  draft.write('neighbours', { entries: op === 'del' ? entries : [...entries, { ...entry, line: draft.mark }] });
}

/** `bridge fdb`, of a vxlan device (self) or a bridge port (master). */
export function changeFdb(draft: Draft, { op, entry }: FdbEdit): void {
  const fact = draft.need('fdb', 'the forwarding entries');
  if (!hasDevice(draft, entry.dev)) throw new ChangeError(`there is no device ${entry.dev} on ${draft.node}`);
  type Entry = typeof entry;
  const same = (e: Entry) =>
    e.mac === entry.mac && e.dev === entry.dev && e.self === entry.self && e.vlan === entry.vlan;
  const exact = (e: Entry) => same(e) && (entry.dst === undefined || e.dst === entry.dst);
  const { entries } = fact.value;
  const what = `a forwarding entry of ${entry.mac} on ${entry.dev} of ${draft.node}`;
  const many = entry.self && /^([0-9a-f][13579bdf]|00:00:00:00:00:00)/.test(entry.mac);
  if (op === 'add' && entries.some(many ? exact : same))
    throw new ChangeError(`there is ${what} already: bridge fdb add is refused, replace is not`);
  if (op === 'append' && entry.self && !many && entries.some(same))
    throw new ChangeError(
      `${entry.mac} is one machine's MAC: the kernel takes a second destination for 00:00:00:00:00:00 and multicast only`,
    );
  if (op === 'append' && entries.some(exact)) throw new ChangeError(`there is ${what} already`);
  if (op === 'del' && !entries.some(exact)) throw new ChangeError(`there is not ${what}`);
  const added = { ...entry, line: draft.mark };
  if (op === 'del') draft.write('fdb', { entries: entries.filter((e) => !exact(e)) });
  else if (op === 'replace') draft.write('fdb', { entries: [...entries.filter((e) => !same(e)), added] });
  else draft.write('fdb', { entries: [...entries, added] });
}
