import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';
import type { Told } from './docker-daemon.ts';
import { perSource } from './per-source.ts';

type Hairpin = Told & { readonly on: boolean };

const ATTR = 'brport/hairpin_mode';

/** Hairpin mode of a bridge's port, by `ip -d link`, `bridge -d link` or sysfs; null: none of them tells. */
export const hairpinOf = (source: Source<'links' | 'bridgePorts' | 'sysfs'>, port: string): Hairpin | null =>
  hairpins(source).get(port) ?? null;

const hairpins = perSource((source: Source<'links' | 'bridgePorts' | 'sysfs'>): ReadonlyMap<string, Hairpin> => {
  const found = new Map<string, Hairpin>();
  const add = (port: string, on: boolean | undefined, fact: Fact<'links' | 'bridgePorts' | 'sysfs'>, span: Span) => {
    if (on !== undefined && !found.has(port)) found.set(port, { on, fact, span });
  };
  const links = source.get('links');
  const ports = source.get('bridgePorts');
  const sysfs = source.get('sysfs');
  if (!ports.missing) for (const p of ports.value.ports) add(p.name, p.hairpin, ports, p);
  if (!sysfs.missing) for (const e of sysfs.value.entries) if (e.attr === ATTR) add(e.dev, e.value === '1', sysfs, e);
  if (!links.missing) for (const d of links.value.devices) add(d.name, d.port?.hairpin, links, d);
  return found;
});
