// Command line and presets of the fleet generator. docs/performance.md says what the presets are like.
import { availableParallelism } from 'node:os';

const PRESETS = {
  tiny: { nodes: 3, services: 8, endpoints: 2.4, logmb: 0.05 },
  small: { nodes: 10, services: 40, endpoints: 2.4, logmb: 1 },
  medium: { nodes: 100, services: 440, endpoints: 2.4, logmb: 3 },
  large: { nodes: 1000, services: 1760, endpoints: 2.4, logmb: 3 },
  xl: { nodes: 5000, services: 10000, endpoints: 3.3, logmb: 3 },
};

export const USAGE = `node bench/fleet.mjs --preset tiny|small|medium|large|xl --out DIR
  --nodes N --services S --endpoints E (mean of a service) --logmb MB (journals of a node)
  --range a-b[/stride]   only these nodes of the cluster; with --clusters: of each cluster (default 0-0 then)
  --seed K  --level 6 (gzip)  --jobs 2  --dir (folders instead of archives)
  --counters             iptables-save -c with traffic counted
  --largecluster         no comments in service chains, as kube-proxy writes above 1,000 endpoints
  --drift 0.002 --versions 20   readiness changes over the collection window
  --idle 0.02 --local    services without endpoints, externalTrafficPolicy Local: ordinary, but findings of their own
  --clusters K           K unrelated clusters
  --backend legacy|nft   which iptables writes iptables-save
  --faults               faults in some nodes, named in truth.json
`;

const NUMBERS = ['nodes', 'services', 'endpoints', 'logmb', 'level', 'jobs', 'clusters', 'drift', 'versions', 'idle'];
const FLAGS = ['counters', 'largecluster', 'faults', 'dir', 'local'];
const TEXTS = ['preset', 'out', 'range', 'seed', 'backend'];

export class UsageError extends Error {}

export function parseOptions(argv) {
  const given = {};
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i].replace(/^--/, '');
    if (FLAGS.includes(name)) given[name] = true;
    else if (NUMBERS.includes(name)) given[name] = number(name, argv[++i]);
    else if (TEXTS.includes(name) && argv[i + 1] !== undefined) given[name] = argv[++i];
    else throw new UsageError(`unknown or incomplete option: ${argv[i]}`);
  }
  return withDefaults(given);
}

function number(name, text) {
  const value = Number(text);
  if (text === undefined || !Number.isFinite(value) || value < 0) throw new UsageError(`--${name} needs a number`);
  return value;
}

export function withDefaults(given) {
  const preset = PRESETS[given.preset ?? 'small'];
  if (preset === undefined) throw new UsageError(`no preset ${given.preset}`);
  const options = {
    preset: 'small',
    seed: '1',
    level: 6,
    jobs: Math.min(2, availableParallelism()),
    clusters: 1,
    drift: 0.002,
    versions: 20,
    idle: 0,
    backend: 'legacy',
    counters: false,
    largecluster: false,
    faults: false,
    dir: false,
    local: false,
    ...preset,
    ...given,
  };
  if (options.nodes < 1 || options.nodes > 16000) throw new UsageError('--nodes is 1 to 16000');
  if (options.services > 200_000) throw new UsageError('--services is at most 200000');
  if (options.backend !== 'nft' && options.backend !== 'legacy') throw new UsageError('--backend is nft or legacy');
  return { ...options, wanted: nodeList(options) };
}

/** The nodes to write: pairs of cluster and index in it. */
function nodeList(o) {
  const range = o.range ?? (o.clusters > 1 ? '0-0' : `0-${o.nodes - 1}`);
  const m = /^(\d+)-(\d+)(?:\/(\d+))?$/.exec(range);
  if (m === null || Number(m[2]) >= o.nodes || Number(m[3] ?? 1) < 1) throw new UsageError(`bad --range ${range}`);
  const list = [];
  for (let c = 0; c < o.clusters; c++) {
    for (let i = Number(m[1]); i <= Number(m[2]); i += Number(m[3] ?? 1)) list.push([c, i]);
  }
  return list;
}
