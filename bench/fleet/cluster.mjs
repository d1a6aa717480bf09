// The model of one cluster: addresses of nodes, services, the pods behind them and how readiness drifts.
import { chainHash, mac, random } from './random.mjs';

const NAMESPACES = [
  'default',
  'shop',
  'payments',
  'search',
  'media',
  'platform',
  'observability',
  'batch-jobs',
  'edge',
];
const WORDS = [
  'api',
  'web',
  'worker',
  'cache',
  'gateway',
  'index',
  'auth',
  'mail',
  'report',
  'queue',
  'stream',
  'ledger',
];
const PORTS = [
  ['http', 80, 8080],
  ['https', 443, 8443],
  ['grpc', 9090, 9090],
  ['tcp-main', 5000, 5000],
  ['metrics', 9100, 9100],
  ['admin', 8081, 8081],
];

const clusters = new Map();

export function clusterOf(options, number) {
  const key = JSON.stringify([options.seed, options.nodes, options.services, options.endpoints, options.idle, number]);
  if (!clusters.has(key)) clusters.set(key, build(options, number));
  return clusters.get(key);
}

function build(options, number) {
  const { seed, nodes } = options;
  // the smallest range that holds one /24 a node; services have 10.96.0.0/12, so underlays stay below 10.90
  const [network, base] =
    nodes <= 250
      ? ['10.244.0.0/16', [244, 0]]
      : nodes <= 4000
        ? ['10.240.0.0/12', [240, 0]]
        : ['10.192.0.0/10', [192, 0]];
  const second = 1 + ((19 + number) % 89);
  const cluster = {
    seed: `${seed}/${number}`,
    number,
    nodes,
    network,
    underlayPrefix: `10.${second}.0.0/16`,
    gateway: `10.${second}.0.1`,
    dns: `10.${second}.0.2`,
    name: (i) => `${number === 0 ? '' : `c${number}-`}node-${String(i).padStart(4, '0')}`,
    underlay: (i) => `10.${second}.${1 + Math.floor(i / 240)}.${10 + (i % 240)}`,
    subnet: (i) => `10.${base[0] + Math.floor(i / 256)}.${i % 256}`,
    vtep: (i) => mac(seed, number, i, 'flannel.1'),
    version: (i) => versionOf(options, number, i),
  };
  addServices(cluster, options);
  return cluster;
}

/** Nodes are collected one after the other while versions pass; 3 % lag behind by 3 to 7 versions. */
function versionOf(options, number, i) {
  const r = random(options.seed, number, 'stale', i);
  const version = Math.floor((i * options.versions) / options.nodes);
  return Math.max(0, r.next() < 0.03 ? version - r.between(3, 7) : version);
}

function addServices(cluster, options) {
  const podsOf = Array.from({ length: cluster.nodes }, () => []);
  const services = [];
  const addPod = (service, k) => {
    // spread evenly, start at a place of the service's own: nodes differ in pods but none runs out of addresses
    const r = random(cluster.seed, 'place', service.ns, service.name);
    const node = (r.below(cluster.nodes) + k * 7919) % cluster.nodes;
    const local = podsOf[node];
    const pod = { node, slot: local.length, ip: `${cluster.subnet(node)}.${2 + local.length}`, service, k };
    if (pod.slot > 200) return addPod(service, k + 1);
    local.push(pod);
    return pod;
  };
  const add = (service, count, ports) => {
    service.pods = Array.from({ length: count }, (_, k) => addPod(service, k));
    service.ports = ports;
    services.push(service);
  };
  add({ ns: 'kube-system', name: 'kube-dns', clusterIp: '10.96.0.10', type: 'ClusterIP' }, cluster.nodes > 1 ? 2 : 1, [
    port('dns', 'udp', 53, 53),
    port('dns-tcp', 'tcp', 53, 53),
    port('metrics', 'tcp', 9153, 9153),
  ]);
  for (let i = 0; i < options.services; i++) {
    const r = random(cluster.seed, 'service', i);
    const kind = r.next();
    const service = {
      ns: r.pick(NAMESPACES),
      name: `${r.pick(WORDS)}-${r.pick(WORDS)}-${i}`,
      clusterIp: `10.${96 + Math.floor((i + 20) / 65000)}.${Math.floor(((i + 20) % 65000) / 250)}.${1 + (((i + 20) % 65000) % 250)}`,
      type: kind < 0.86 ? 'ClusterIP' : kind < 0.96 ? 'NodePort' : 'LoadBalancer',
      affinity: r.next() < 0.01,
      drifts: drifts(cluster.seed, i, options),
    };
    service.localPolicy = options.local && service.type === 'LoadBalancer' && r.next() < 0.3;
    const first = r.below(4);
    const ports = r.next() < 0.18 ? [PORTS[first], PORTS[4]] : [PORTS[first]];
    const idle = r.next() < options.idle;
    add(
      service,
      idle ? 0 : endpointCount(r, options.endpoints),
      ports.map((p) => port(p[0], 'tcp', p[1], p[2])),
    );
  }
  let nodePort = 0;
  let balancer = 0;
  for (const s of services) {
    if (s.type === 'LoadBalancer') {
      s.balancerIp = `10.95.${Math.floor(balancer / 250) % 256}.${1 + (balancer % 250)}`;
      balancer += 1;
    }
    // NodePorts are 2,768 at most; a larger cluster would not get more either
    if (s.type !== 'ClusterIP' && nodePort + s.ports.length > 2700) s.type = 'ClusterIP';
    for (const p of s.ports) if (s.type !== 'ClusterIP') p.nodePort = 30000 + nodePort++;
  }
  cluster.services = services;
  cluster.podsOf = podsOf;
}

const port = (name, proto, number, target) => ({ name, proto, port: number, target });

/** Mostly one to three endpoints and a long tail, with the mean that was asked for. */
function endpointCount(r, mean) {
  const x = r.next();
  const tail = x < 0.97 ? -Math.log(1 - r.next()) : 4 + r.below(8);
  return Math.max(1, Math.min(250, Math.round(0.42 + tail * (mean - 0.75))));
}

/** Versions at which one pod of the service turns unready (it lives on, so that no rule points to a dead pod). */
function drifts(seed, i, options) {
  const found = [];
  for (let v = 1; v < options.versions; v++) {
    const r = random(seed, 'drift', i, v);
    if (r.next() < options.drift) found.push([v, r.below(1000)]);
  }
  return found;
}

/** Pods of a service that are ready at a version. */
export function readyPods(service, version) {
  let out = -1;
  for (const [v, k] of service.drifts ?? []) if (v <= version) out = k;
  const pods = service.pods;
  if (out < 0 || pods.length < 2) return pods;
  return pods.filter((_, k) => k !== out % pods.length);
}

export const portName = (s, p) => `${s.ns}/${s.name}:${p.name}`;
export const serviceChain = (prefix, s, p) => `${prefix}-${chainHash(portName(s, p) + p.proto)}`;
export const endpointChain = (s, p, ip) => `KUBE-SEP-${chainHash(`${portName(s, p)}${p.proto}${ip}:${p.target}`)}`;
