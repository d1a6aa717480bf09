import type { NodeTopology } from '../engine/analysis.ts';
import type { Severity } from '../rule/index.ts';
import type { Analysis } from './analysis.ts';
import { byNumber, names, plural } from './names.ts';

interface Box {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  readonly mark: string;
  readonly lines: readonly {
    readonly x: number;
    readonly y: number;
    readonly text: string;
    readonly strong: boolean;
  }[];
}

/** Three fixed lanes with integer coordinates: overlay on top, underlay subnets, then the nodes with findings. */
export interface TopologyPicture {
  readonly width: number;
  readonly height: number;
  readonly title: string;
  readonly desc: string;
  readonly boxes: readonly Box[];
  readonly links: readonly {
    readonly x1: number;
    readonly y1: number;
    readonly x2: number;
    readonly y2: number;
    readonly broken: boolean;
  }[];
  readonly rows: readonly {
    readonly node: string;
    readonly underlay: string;
    readonly overlay: string;
    readonly bridges: string;
    readonly lease: string;
  }[];
  readonly folded: string;
}

const WIDTH = 960;
const GAP = 16;
const MOST_SUBNETS = 4;
const MOST_NODES = 9;
const SUBNET_HEIGHT = 68;
const PER_ROW = 3;
/** Width of a 13 px monospace character, with room for wide fonts. */
const CHARACTER = 8;

export function topologyPicture(analysis: Analysis, nodes: readonly string[]): TopologyPicture | null {
  const known = nodes.filter(
    (n) => (analysis.topology[n]?.underlay.length ?? 0) > 0 || (analysis.topology[n]?.bridges.length ?? 0) > 0,
  );
  if (known.length === 0) return null;
  const severityOf = new Map<string, Severity>();
  for (const f of analysis.findings) {
    if (f.severity === 'info') continue;
    for (const n of f.nodes) if (!severityOf.has(n)) severityOf.set(n, f.severity);
  }
  const shown = known.length <= MOST_NODES ? known : known.filter((n) => severityOf.has(n)).slice(0, MOST_NODES);
  const subnets = new Map<string, string[]>();
  for (const n of known) {
    const subnet = analysis.topology[n]?.underlay[0]?.subnet ?? 'underlay unknown';
    subnets.set(subnet, [...(subnets.get(subnet) ?? []), n]);
  }
  const brokenIn = (members: readonly string[]) => members.filter((m) => severityOf.has(m)).length;
  const subnetList = [...subnets].sort(
    (a, b) => brokenIn(b[1]) - brokenIn(a[1]) || b[1].length - a[1].length || byNumber(a[0], b[0]),
  );
  const boxes: Box[] = [];
  const links: TopologyPicture['links'][number][] = [];
  const overlays = overlayText(known.map((n) => analysis.topology[n] as NodeTopology));
  const overlayHeight = 32 + 18 * Math.max(1, overlays.length);
  boxes.push(box(GAP, GAP, WIDTH - 2 * GAP, overlayHeight, 'lane', ['Overlay', ...overlays]));
  const subnetY = GAP + overlayHeight + 40;
  const columns = subnetList.slice(0, MOST_SUBNETS);
  const subnetWidth = Math.floor((WIDTH - GAP * (columns.length + 1)) / Math.max(1, columns.length));
  const centre = new Map<string, number>();
  columns.forEach(([subnet, members], i) => {
    const x = GAP + i * (subnetWidth + GAP);
    const broken = brokenIn(members);
    const text = broken === 0 ? 'no finding' : `${plural(broken, 'node')} with findings`;
    boxes.push(
      box(x, subnetY, subnetWidth, SUBNET_HEIGHT, broken > 0 ? 'broken' : 'lane', [
        `Underlay ${subnet}`,
        plural(members.length, 'node'),
        text,
      ]),
    );
    const middle = x + Math.floor(subnetWidth / 2);
    centre.set(subnet, middle);
    links.push({ x1: middle, y1: GAP + overlayHeight, x2: middle, y2: subnetY, broken: false });
  });
  const nodeY = subnetY + SUBNET_HEIGHT + 48;
  const perRow = Math.min(PER_ROW, Math.max(1, shown.length));
  const nodeWidth = Math.floor((WIDTH - GAP * (perRow + 1)) / perRow);
  let bottom = subnetY + SUBNET_HEIGHT;
  shown.forEach((node, i) => {
    const t = analysis.topology[node] as NodeTopology;
    const x = GAP + (i % perRow) * (nodeWidth + GAP);
    const y = nodeY + Math.floor(i / perRow) * 140;
    const severity = severityOf.get(node);
    const strips = [
      ...t.underlay.slice(0, 1).map((u) => `${u.dev} ${u.address} mtu ${u.mtu ?? '?'}`),
      ...t.overlay.slice(0, 1).map((o) => `${o.dev} vni ${o.vni ?? '?'} port ${o.port ?? '?'} mtu ${o.mtu ?? '?'}`),
      ...t.bridges.slice(0, 2).map((b) => `${b.name} ${b.prefix} mtu ${b.mtu ?? '?'}`),
    ];
    boxes.push(
      box(x, y, nodeWidth, 40 + 18 * Math.max(3, strips.length), severity === undefined ? 'node' : 'broken', [
        `${node}${severity === undefined ? '' : ` (${severity})`}`,
        ...strips,
      ]),
    );
    bottom = Math.max(bottom, y + 40 + 18 * Math.max(3, strips.length));
    const from = centre.get(t.underlay[0]?.subnet ?? '') ?? null;
    if (from !== null && i < perRow)
      links.push({
        x1: from,
        y1: subnetY + SUBNET_HEIGHT,
        x2: x + Math.floor(nodeWidth / 2),
        y2: y,
        broken: severity !== undefined,
      });
  });
  const hidden = known.length - shown.length;
  const foldedSubnets = subnetList.length - columns.length;
  return {
    width: WIDTH,
    height: bottom + GAP,
    title: 'Network of the analysed nodes',
    desc: `${plural(known.length, 'node')} on ${plural(subnetList.length, 'underlay subnet')}; nodes with findings: ${names([...severityOf.keys()], 8) || 'none'}`,
    boxes,
    links,
    rows: shown.map((node) => {
      const t = analysis.topology[node] as NodeTopology;
      return {
        node,
        underlay: t.underlay.map((u) => `${u.dev} ${u.address}`).join(', ') || 'not known',
        overlay:
          t.overlay
            .map((o) => `${o.dev}${o.vni === null ? '' : ` vni ${o.vni} port ${o.port ?? '?'} mtu ${o.mtu ?? '?'}`}`)
            .join(', ') || 'none seen',
        bridges: t.bridges.map((b) => `${b.name} ${b.prefix} (${plural(b.ports, 'port')})`).join(', ') || 'none seen',
        lease: t.lease ?? 'none seen',
      };
    }),
    folded: [
      hidden > 0 ? `${plural(hidden, 'further node')} not drawn` : '',
      foldedSubnets > 0 ? `${plural(foldedSubnets, 'further subnet')} not drawn` : '',
    ]
      .filter((t) => t !== '')
      .join('; '),
  };
}

function box(x: number, y: number, w: number, h: number, mark: string, texts: readonly string[]): Box {
  const most = Math.max(8, Math.floor((w - 16) / CHARACTER));
  const lines = texts.map((text, i) => ({
    x: x + 10,
    y: y + 20 + i * 18,
    text: text.length > most ? `${text.slice(0, most - 1)}…` : text,
    strong: i === 0,
  }));
  return { x, y, w, h, mark, lines };
}

function overlayText(all: readonly NodeTopology[]): string[] {
  const counts = new Map<string, number>();
  for (const t of all) {
    for (const o of t.overlay) {
      const text = `${o.dev}: VNI ${o.vni ?? '?'}, UDP port ${o.port ?? '?'}, MTU ${o.mtu ?? '?'}${t.podNetwork === null ? '' : `, pod network ${t.podNetwork}`}`;
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
  }
  const list = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 4);
  return list.length === 0 ? ['no overlay device seen'] : list.map(([text, n]) => `${text} on ${plural(n, 'node')}`);
}
