import type { Source } from './devices.ts';

/** So many are kept of each kind, the first by text: nodes of one network share most of them. */
const KEPT = 16;

/**
 * Hardware addresses that are made of an IP address, or are the same in every network: VRRP, HSRP and GLBP, the CNI plugins (0a:58),
 * docker (02:42), Google's (42:01), Azure's gateway, Calico's (ee:ee), Xen's (fe:ff), and what VirtualBox's and QEMU's NAT show each machine as
 * its router (52:54:00:12:35, 52:55).
 */
const EVERYWHERE =
  /^(00:00:5e:00:0[12]|00:00:0c:(07:ac|9f)|00:07:b4|0a:58|02:42|42:01|12:34:56:78|ee:ee|fe:ff|52:54:00:12:35|52:55|00:00:00:00)/;

/** `mac@address` of machines that the node shares a wire with; two nodes that list one of them stand on one network. */
export function wireTies(source: Source<'addresses' | 'routes4' | 'neighbours' | 'links' | 'fdb'>): readonly string[] {
  const [addresses, routes, neighbours] = [source.get('addresses'), source.get('routes4'), source.get('neighbours')];
  const [links, fdb] = [source.get('links'), source.get('fdb')];
  const hops = new Set(routes.missing ? [] : routes.value.routes.flatMap((r) => r.via ?? []));
  const own = addresses.missing
    ? []
    : addresses.value.devices.flatMap((d) =>
        d.addresses.flatMap((a) => (a.family === 4 && a.scope === 'global' ? tie(d.mac, a.address) : [])),
      );
  const routers = neighbours.missing
    ? []
    : neighbours.value.entries.flatMap((e) => (hops.has(e.ip) ? tie(e.mac, e.ip) : []));
  const vxlans = new Set(links.missing ? [] : links.value.devices.filter((d) => d.kind === 'vxlan').map((d) => d.name));
  const tunnels = links.missing ? [] : links.value.devices.flatMap((d) => tie(d.mac, d.vxlan?.local));
  const peers = fdb.missing ? [] : fdb.value.entries.flatMap((e) => (vxlans.has(e.dev) ? tie(e.mac, e.dst) : []));
  return [...new Set([...first(own), ...first(routers), ...tunnels.slice(0, KEPT), ...first(peers)])];
}

/** The first of them by text, without sorting a table of thousands. */
function first(list: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const text of list) {
    const last = kept.at(-1);
    if ((kept.length === KEPT && last !== undefined && text >= last) || kept.includes(text)) continue;
    const at = kept.findIndex((k) => k > text);
    kept.splice(at < 0 ? kept.length : at, 0, text);
    if (kept.length > KEPT) kept.pop();
  }
  return kept;
}

const tie = (mac: string | undefined, address: string | undefined): readonly string[] =>
  mac === undefined || address === undefined || EVERYWHERE.test(mac) ? [] : [`${mac}@${address}`];
