import { parseIp4 } from '../core/address.ts';
import type { Span } from '../core/span.ts';
import type { Fact } from '../facts/index.ts';
import type { Source } from './devices.ts';

/** A value that flannel wrote into the Kubernetes API, and where that stands. */
export interface Announced {
  readonly value: string;
  readonly fact: Pick<Fact<'k8sNodes'>, 'node' | 'evidence' | 'path'>;
  readonly span: Span;
}

/** What flannel announces of a node: the other nodes make their entries from it. */
export interface Lease {
  readonly name: string;
  /** Base address of its pod range: that of its VTEP. */
  readonly vtep: string;
  /** Length of its pod range. */
  readonly length: number | null;
  readonly mac: Announced | null;
  readonly underlay: Announced | null;
}

/** Of the node itself, or of all nodes where the bundle was taken with --api=admin. */
export function announcedLeases(source: Source<'k8sNodes'>): Lease[] {
  const fact = source.get('k8sNodes');
  if (fact.missing) return [];
  const { node, evidence, path } = fact;
  const said = (place: (Span & { readonly value: string }) | undefined): Announced | null => {
    if (place === undefined) return null;
    const { value, ...span } = place;
    return { value, fact: { node, evidence, path }, span };
  };
  return fact.value.nodes.flatMap(({ name, podCidrs, vtepMac, publicIp }) => {
    const [vtep, length] = podCidrs.map((cidr) => cidr.split('/')).find(([base = '']) => parseIp4(base) !== null) ?? [];
    if (vtep === undefined) return [];
    const known = length !== undefined && /^\d+$/.test(length) ? Number(length) : null;
    return [{ name, vtep, length: known, mac: said(vtepMac), underlay: said(publicIp) }];
  });
}
