import type { BridgeAttributes, BridgePortAttributes, LinkDevice, VxlanAttributes } from '../facts/index.ts';
import type { JsonRecord } from './json-records.ts';
import { present } from './json-value.ts';
import { arity, count, onOff, readKeyed } from './keyed-words.ts';

/** Linux's own default; what iproute2 before 4.0 does not print. IANA's 4789 is never the kernel's choice. */
const KERNEL_VXLAN_PORT = 8472;

export type LinkDetails = Pick<LinkDevice, 'kind' | 'vxlan' | 'bridge' | 'vlanId' | 'macvlanMode'>;

const vxlanKeys = arity('id local dev remote group dstport df ttl tos flowlabel ageing maxaddr', 'srcport port');
const bridgeKeys = arity('stp_state vlan_filtering nf_call_iptables nf_call_ip6tables bridge_id');
const portKeys = arity('state hairpin isolated learning flood');
const otherKeys = arity('id mode protocol');

/** The line below `link/` that `ip -d` prints: a kind and its options. Null when its first word is no kind. */
export function readDetails(words: readonly string[]): LinkDetails | null {
  const [kind, ...rest] = words;
  if (kind === undefined || !/^[a-z][a-z0-9_]{0,15}$/.test(kind) || notKinds.has(kind)) return null;
  if (kind === 'vxlan') return { kind, vxlan: vxlanOf(rest) };
  if (kind === 'bridge') {
    const { values } = readKeyed(rest, bridgeKeys);
    const bridge = {
      stp: stp(values.get('stp_state')),
      vlanFiltering: onOff(values.get('vlan_filtering')),
      nfCallIptables: onOff(values.get('nf_call_iptables')),
      nfCallIp6tables: onOff(values.get('nf_call_ip6tables')),
      bridgeId: values.get('bridge_id'),
    };
    return { kind, bridge: present(bridge) };
  }
  const { values } = readKeyed(rest, otherKeys);
  const vlanId = kind === 'vlan' ? count(values.get('id')) : undefined;
  const macvlanMode = /^macv(lan|tap)$/.test(kind) ? values.get('mode') : undefined;
  return present({ kind, vlanId, macvlanMode });
}

/** Flags of an IPv6 address that keep it from being used; one that is `optimistic` is used meanwhile. */
export function dadOf(has: (flag: string) => boolean): 'tentative' | 'dadfailed' | undefined {
  if (has('dadfailed')) return 'dadfailed';
  return has('tentative') && !has('optimistic') ? 'tentative' : undefined;
}

/** First words of lines below a device that tell no kind. */
const notKinds = new Set([
  'alias',
  'altname',
  'inet',
  'inet6',
  'vf',
  'promiscuity',
  'addrgenmode',
  'permaddr',
  'parentbus',
  'parentdev',
  'bridge_slave',
  'bond_slave',
  'openvswitch_slave',
  'team_slave',
  'vrf_slave',
  'qdisc',
  'link',
]);

function vxlanOf(words: readonly string[]): VxlanAttributes {
  const { values, bare } = readKeyed(words, vxlanKeys);
  const port = count(values.get('dstport'));
  // iproute2 4 and 5 print of such a device only `vxlan external`, without a blank behind it
  const external = bare.some((w) => w === 'external' || w === 'externaladdrgenmode' || w === 'externalnumtxqueues');
  const range = (values.get('srcport') ?? values.get('port') ?? '').split(' ').map((w) => count(w));
  return present({
    vni: count(values.get('id')) ?? 0,
    dstPort: port ?? KERNEL_VXLAN_PORT,
    dstPortAssumed: port === undefined ? true : undefined,
    local: values.get('local'),
    dev: values.get('dev'),
    remote: values.get('remote'),
    group: values.get('group'),
    learning: !bare.includes('nolearning'),
    external,
    misses: bare.includes('l2miss') || bare.includes('l3miss') ? true : undefined,
    gbp: bare.includes('gbp'),
    srcPort: portRange(range[0], range[1]),
    df: values.get('df'),
    ttl: setTtl(values.get('ttl')),
  });
}

/** Without one of its own the tunnel's packets have the node's. */
const setTtl = (text: string | undefined) => (text === 'auto' || text === '0' ? undefined : text);

const portRange = (low: number | undefined, high: number | undefined) =>
  low === undefined || high === undefined ? undefined : ([low, high] as const);

/** 0 off, 1 the kernel's, 2 a daemon's. */
const stp = (text: string | undefined) => (text === '2' ? true : onOff(text));

/** `bridge_slave ...` of `ip -d link`, `state ... hairpin ...` of `bridge -d link`. */
export function readPort(words: readonly string[]): BridgePortAttributes {
  const { values } = readKeyed(words, portKeys);
  const flags = ['hairpin', 'isolated', 'learning', 'flood'] as const;
  return present({ state: values.get('state'), ...Object.fromEntries(flags.map((f) => [f, onOff(values.get(f))])) });
}

export function portOfRecord(record: JsonRecord): BridgePortAttributes {
  const flags = ['hairpin', 'isolated', 'learning', 'flood'] as const;
  return present({ state: record.text('state'), ...Object.fromEntries(flags.map((f) => [f, record.flag(f)])) });
}

/** `linkinfo` of `ip -d -j link`. */
export function detailsOfRecord(kind: string, data: JsonRecord | undefined): LinkDetails {
  const vlanId = kind === 'vlan' ? data?.number('id') : undefined;
  const macvlanMode = /^macv(lan|tap)$/.test(kind) ? data?.text('mode') : undefined;
  if (data === undefined || (kind !== 'vxlan' && kind !== 'bridge')) return present({ kind, vlanId, macvlanMode });
  if (kind === 'bridge') {
    const bridge: BridgeAttributes = present({
      stp: data.number('stp_state') === 2 ? true : data.flag('stp_state'),
      vlanFiltering: data.flag('vlan_filtering'),
      nfCallIptables: data.flag('nf_call_iptables'),
      nfCallIp6tables: data.flag('nf_call_ip6tables'),
      bridgeId: data.text('bridge_id'),
    });
    return { kind, bridge };
  }
  const port = data.number('port');
  const range = data.record('port_range');
  const vxlan = present({
    vni: data.number('id') ?? 0,
    dstPort: port ?? KERNEL_VXLAN_PORT,
    dstPortAssumed: port === undefined ? true : undefined,
    local: data.text('local') ?? data.text('local6'),
    dev: data.text('link'),
    remote: data.text('remote') ?? data.text('remote6'),
    group: data.text('group') ?? data.text('group6'),
    learning: data.flag('learning') ?? true,
    misses: data.flag('l2miss') === true || data.flag('l3miss') === true ? true : undefined,
    external: data.flag('external') ?? false,
    gbp: data.flag('gbp') ?? false,
    srcPort: portRange(range?.number('low'), range?.number('high')),
    df: data.text('df'),
    ttl: setTtl(data.text('ttl') ?? data.number('ttl')?.toString()),
  });
  return { kind, vxlan };
}
