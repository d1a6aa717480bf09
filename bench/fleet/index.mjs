// A fleet: nodes one at a time, on worker threads when there are many.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { brctlShow, brctlShowmacs, bridgeBrif, bridgeLinkJson, bridgeLinkText, bridgeSysfs } from './bridge-texts.mjs';
import { writeBundle } from './bundle.mjs';
import { dockerTexts, kubeTexts, systemTexts } from './config-texts.mjs';
import { FAULTS, faultsOf } from './faults.mjs';
import { firewallTexts } from './firewall-texts.mjs';
import { journalTexts } from './journals.mjs';
import { addrJson, addrText, linkJson, linkText } from './link-texts.mjs';
import { namespaceTexts } from './namespace-texts.mjs';
import { nodeOf } from './node.mjs';
import * as routes from './route-texts.mjs';

/** Every evidence text of a node by its path. */
export function nodeTexts(node) {
  const neigh = routes.neighbours(node);
  const fdb = routes.fdb(node);
  const six = routes.routes6(node.devices);
  const texts = {
    ...systemTexts(node),
    'host/ip/addr.txt': addrText(node),
    'host/ip/addr.json': addrJson(node),
    'host/ip/link.txt': linkText(node),
    'host/ip/link.json': linkJson(node),
    'host/ip/nsid.json': `${JSON.stringify(node.pods.map((p) => ({ nsid: p.nsid, name: p.netns })))}\n`,
    'host/ip/route4.txt': routes.routeText(node.routes),
    'host/ip/route4.json': routes.routeJson(node.routes),
    'host/ip/route6.txt': six.text,
    'host/ip/route6.json': six.json,
    'host/ip/rule4.txt': routes.RULE4,
    'host/ip/rule4.json': routes.RULE4_JSON,
    'host/ip/rule6.txt': routes.RULE6,
    'host/ip/rule6.json': routes.RULE6_JSON,
    'host/ip/neigh.txt': routes.neighText(neigh),
    'host/ip/neigh.json': routes.neighJson(neigh),
    'host/ip/nexthop.json': '[]\n',
    'host/proc/net/route': routes.procRoute(node.routes),
    'host/proc/net/fib_trie': routes.fibTrie(node.routes),
    'host/proc/net/arp': routes.procArp(neigh),
    'host/proc/net/dev': routes.procDev(node.devices),
    'host/bridge/brctl-show.txt': brctlShow(node),
    'host/bridge/link.json': bridgeLinkJson(node),
    'host/bridge/link.txt': bridgeLinkText(node),
    'host/bridge/fdb.json': routes.fdbJson(fdb),
    'host/bridge/fdb.txt': routes.fdbText(fdb),
    'host/bridge/vlan.json': '[]\n',
    'host/bridge/sysfs.txt': bridgeSysfs(node),
    'host/bridge/brif.txt': bridgeBrif(node),
    ...firewallTexts(node),
    ...dockerTexts(node),
    ...kubeTexts(node),
    ...journalTexts(node),
    ...namespaceTexts(node),
  };
  for (const b of node.devices.filter((d) => d.kind === 'bridge'))
    texts[`host/bridge/brctl-showmacs-${b.name}.txt`] = brctlShowmacs(node, b);
  return texts;
}

function writeNode(options, k) {
  const [number, index] = options.wanted[k];
  const node = nodeOf(options, number, index, faultsOf(options, k, options.wanted.length));
  const texts = nodeTexts(node);
  const written = writeBundle(node, texts, options.out, options);
  const rules = texts['host/fw/iptables-save.txt'].split('\n').filter((l) => l.includes(' -A ')).length;
  return { ...written, node: node.name, rules, faults: [...node.faults] };
}

/** Writes the fleet and truth.json; returns what truth.json holds. */
export async function writeFleet(options) {
  mkdirSync(options.out, { recursive: true });
  const count = options.wanted.length;
  const jobs = Math.min(options.jobs, Math.ceil(count / 4));
  const written =
    jobs < 2 ? options.wanted.map((_, k) => writeNode(options, k)) : await onThreads(options, jobs, count);
  const faults = written.flatMap((w) =>
    w.faults.flatMap((name) => {
      const { also = [], ...fault } = FAULTS.find((f) => f.name === name);
      return [fault.rule, ...also].map((rule) => ({ node: w.node, ...fault, rule }));
    }),
  );
  const { wanted: _, ...args } = options;
  const truth = {
    args,
    nodes: count,
    rules: written.reduce((n, w) => n + w.rules, 0),
    bytes: written.reduce((n, w) => n + w.bytes, 0),
    tarBytes: written.reduce((n, w) => n + (w.tar ?? w.bytes), 0),
    faults,
  };
  writeFileSync(join(options.out, 'truth.json'), `${JSON.stringify(truth, null, 2)}\n`);
  return truth;
}

async function onThreads(options, jobs, count) {
  const share = Math.ceil(count / jobs);
  const parts = await Promise.all(
    Array.from(
      { length: jobs },
      (_, j) =>
        new Promise((resolve, reject) => {
          const worker = new Worker(import.meta.filename, {
            workerData: { options, from: j * share, to: Math.min(count, (j + 1) * share) },
          });
          worker.on('message', resolve);
          worker.on('error', reject);
        }),
    ),
  );
  return parts.flat();
}

if (!isMainThread && workerData?.options !== undefined) {
  const { options, from, to } = workerData;
  parentPort.postMessage(Array.from({ length: to - from }, (_, i) => writeNode(options, from + i)));
}
