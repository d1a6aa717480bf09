import { formatIp4, parsePrefix, prefixContains } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { clusterGroups, clusterTies, isDoubtful, ownMarks } from '../../src/derive/cluster.ts';
import { containerBridges } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { leftBehind, type SharedAddresses, sameAddress, sharedAddresses } from '../../src/derive/pod-address-pairs.ts';
import { POD_ADDRESS_KINDS, type PodAddress, packedAddresses, podAddresses } from '../../src/derive/pod-addresses.ts';
import { podLinks } from '../../src/derive/pod-links.ts';
import { tieSample } from '../../src/derive/tie-sample.ts';
import type {
  CaseNodes,
  Cite,
  FactSource,
  Finding,
  LineCite,
  NodeDigest,
  Remediation,
  Undecided,
} from '../../src/rule/index.ts';
import { cite, definePathRule, isClosed } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** What of a node is compared with others of its cluster. */
interface Held {
  /** Why the question does not arise; null: it does. */
  readonly none: string | null;
  readonly open: readonly (readonly [because: string, evidence: readonly string[]])[];
  /** Addresses that two containers of this very node have. */
  readonly twice: readonly Finding[];
  readonly network: string | null;
  readonly ties: readonly string[] | null;
  /** Addresses of its pods inside the cluster's range, packed. */
  readonly pods: string;
  readonly proof: LineCite | null;
}

const HOUR_MS = 3_600_000;
/** So many pairs of nodes are opened again: each costs some milliseconds. */
const MOST_PAIRS = 16;
/** More addresses than this with one fault show nothing new. */
const SHOWN = 4;

const VERIFY =
  "for n in /run/netns/* /run/docker/netns/*; do nsenter --net=$n ip -4 -o addr show scope global 2>/dev/null; done | awk '{print $4}' | sort | uniq -d   # prints none of the addresses";

/** A lease that is given back frees the address of whoever still has it: one of two is not enough, nor is one that was found. */
const REMAKE: Remediation = {
  step: 'Drain the node, so that all its pods are made anew: host-local has lost count of what is in use, and a single pod that goes gives its address back while another still has it. Then see that nothing clears /var/lib/cni/networks while pods run.',
  run: 'kubectl drain <node> --ignore-daemonsets --delete-emptydir-data; kubectl uncordon <node>',
  verify: VERIFY,
  undo: 'kubectl uncordon <node>',
  risk: 'All pods of the node are made anew with new addresses; data in emptyDir is lost.',
};

export const rule = definePathRule({
  id: 'duplicate-pod-address',
  title: {
    bad: 'Two containers have the same address',
    good: 'No address of a container is held twice, as far as namespaces were collected',
  },
  severity: 'high',
  explanation:
    'On one bridge both containers answer ARP, and who gets a packet depends on whose answer was learnt last; on two nodes the routes decide, and the other container gets no answers. ' +
    'The usual cause is state of the CNI plugin host-local that was cleared (/var/lib/cni/networks) while pods ran on, or pods that stayed behind from a former pod subnet.',
  remediation: [REMAKE],
  references: [REF.cniHostLocal, REF.flannelReservations],
  needs: ['addresses'],
  wants: [...POD_ADDRESS_KINDS, 'flannelEnv', 'fdb', 'neighbours'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  extract({ node, facts, source }): Held {
    const { links, unpaired } = podLinks(source);
    const list = podAddresses(source);
    const lease = flannelLease(source);
    const [first] = list;
    const open: [string, readonly string[]][] = [];
    const alone = links.length + unpaired.length < 2 && lease?.network == null;
    if (unpaired.length > 0 && !alone)
      open.push([
        `the addresses of what ${unpaired.slice(0, 3).join(', ')}${unpaired.length > 3 ? ' and others' : ''} lead to: no namespace that was collected has the other end`,
        ['netns.addr-json'],
      ]);
    if (first === undefined && unpaired.length === 0 && !isClosed(facts.addresses))
      open.push(['the list of the node’s devices was not collected whole', [facts.addresses.evidence]]);
    const twice: Finding[] = [];
    for (const group of sameAddress(list)) judgeGroup(group);
    for (const { name, prefixes, fact } of containerBridges(source))
      for (const own of prefixes) {
        const pod = list.find((p) => p.address === own.address && p.bridge === name);
        if (pod !== undefined) twice.push(gatewayTaken(node.id, pod, cite(fact, own)));
      }
    const clustered = list.length > 0 && lease?.network != null;
    return {
      none:
        first === undefined && open.length === 0
          ? links.length === 0
            ? unpaired.length === 0
              ? 'no container here has a cable to the node'
              : 'one container alone is on this node'
            : 'no container here has an address on a bridge or by a host route'
          : null,
      open,
      twice,
      network: lease?.network == null ? null : `${lease.network.prefix.base}/${lease.network.prefix.length}`,
      ties: clustered ? tieSample(clusterTies(source).ties) : null,
      pods: clustered && lease !== null ? packedAddresses(list, lease) : '',
      proof: first === undefined ? null : cite(first.link.fact, first.span),
    };

    function judgeGroup(group: readonly PodAddress[]): void {
      const [a, b] = [...group].sort((x, y) => Number(y.main) - Number(x.main));
      if (a === undefined || b === undefined) return;
      const both = `${a.address} is an address of two containers (netns/${a.link.inode} and netns/${b.link.inode})`;
      if (!a.main)
        open.push([
          `${both}: a second one on each, which may be virtual and move from one to the other`,
          ['netns.addr-json'],
        ]);
      else if (a.bridge !== null && b.bridge !== null && a.bridge !== b.bridge)
        open.push([
          `${both}, on two bridges (${a.bridge}, ${b.bridge}): whether one network was meant is not told`,
          ['ip.route4'],
        ]);
      else twice.push(onOneNode(source, node.id, group, a, b));
    }
  },
  evaluate(digests, nodes) {
    const all = [...digests];
    const groups = clusterGroups(
      all.map(({ node, bootId, digest }) => ({ node, bootId, ties: { network: digest.network, ties: digest.ties } })),
    );
    const findings: Finding[] = [];
    const unknown: Undecided[] = [];
    for (const { node, digest } of all) {
      findings.push(...digest.twice);
      for (const [because, evidence] of digest.open) unknown.push({ nodes: [node], because, evidence });
    }
    for (const [i, pair] of sharedAddresses(all, groups).entries()) {
      const { a, b } = pair;
      const which = `${a.node} and ${b.node} both have pods with ${formatIp4(pair.values[0] ?? 0)}`;
      const answer =
        i < MOST_PAIRS ? onTwoNodes(pair, nodes) : `${which}, and so have more pairs of nodes than are compared`;
      if (typeof answer === 'string')
        unknown.push({ nodes: [a.node, b.node], because: answer, evidence: ['sys.machine-id'] });
      else findings.push(answer);
    }
    const clustered = all.filter(({ digest }) => digest.pods !== '');
    const untied = clustered.filter(({ node }) => groups.get(node) === null);
    for (const { node } of clustered.filter((d) => isDoubtful(groups.get(d.node))))
      unknown.push({
        nodes: [node],
        because:
          'another node is known by the same addresses and pod subnet: one machine collected twice, or nodes of two networks',
        evidence: ['sys.machine-id'],
      });
    for (const { node, digest } of untied)
      if (all.some((other) => other.node !== node && other.digest.network === digest.network))
        unknown.push({
          nodes: [node],
          because:
            'which other nodes are of its cluster is not known: neither forwarding entries nor routes of its overlay were collected',
          evidence: ['bridge.fdb', 'ip.link'],
        });
    const named = new Set([...findings, ...unknown].flatMap((f) => [...f.nodes]));
    const rest = all.filter(({ node }) => !named.has(node));
    return {
      findings,
      unknown,
      passes: rest.flatMap(({ node, digest: { none, proof } }) =>
        none === null && proof !== null ? [{ node, cites: [proof] as const }] : [],
      ),
      notApplicable: rest.flatMap(({ node, digest: { none } }) =>
        none === null ? [] : [{ nodes: [node] as const, because: none }],
      ),
    };
  },
});

function onOneNode(
  source: FactSource<'netnsIndex' | 'addresses'>,
  node: string,
  group: readonly PodAddress[],
  a: PodAddress,
  b: PodAddress,
): Finding {
  const addresses = source.get('addresses');
  const one = a.bridge !== null && a.bridge === b.bridge;
  const where = one
    ? `both on ${a.bridge}`
    : `by ${a.bridge ?? a.link.outer.name} and by ${b.bridge ?? b.link.outer.name}`;
  const left = leftBehind(source, group);
  const dead = left === undefined ? '' : `; no process is left in netns/${left.link.inode}`;
  const others = group.filter((p) => p !== a).slice(0, SHOWN - 1);
  const inner = others.map((p): Cite => cite(p.link.fact, p.span));
  const outer = addresses.missing ? [] : [a, ...others].map((p): Cite => cite(addresses, p.link.outer));
  const names = group.map((p) => `netns/${p.link.inode}`).join(', ');
  return {
    key: a.address,
    severity: 'high',
    confidence: one && b.main ? 'proven' : 'likely',
    nodes: [node],
    about: [a.address],
    message: `${a.address} is the address of ${group.length} containers of ${node} (${names}), ${where}${dead}`,
    cites: [cite(a.link.fact, a.span), ...inner, ...outer],
    disprove: 'one of the containers was ending while it was collected',
    ...(left === undefined
      ? {}
      : {
          remediation: [
            {
              step: 'Nothing runs any more in the one without a process: a container that ended left its namespace behind. Take it off the network; it goes with the next start of the node.',
              run: `ip link set ${shellWord(left.link.outer.name)} down   # on ${node}`,
              verify: `arping -c 2 -I ${shellWord(left.bridge ?? left.link.outer.name)} ${a.address}   # on ${node}: one hardware address answers`,
              undo: `ip link set ${shellWord(left.link.outer.name)} up`,
              risk: 'none known',
            },
            REMAKE,
          ],
        }),
  };
}

/** A container with the address of its own gateway. */
function gatewayTaken(node: string, pod: PodAddress, own: LineCite): Finding {
  return {
    key: `${pod.address} gateway`,
    severity: 'high',
    confidence: 'proven',
    nodes: [node],
    message: `${pod.address} is the address of ${pod.bridge} on ${node} and of a container on it (netns/${pod.link.inode}): other containers may take it for their gateway`,
    cites: [cite(pod.link.fact, pod.span), own],
    disprove: 'the container was ending while it was collected',
    remediation: [
      {
        step: 'Delete that pod (or remove the container): it gets another address. Look where it has this one from: an address that is written into its manifest or its --ip, or state of host-local that does not keep the gateway free.',
        verify: `arping -c 2 -I ${shellWord(pod.bridge ?? '')} ${pod.address}   # on ${node}: nobody answers`,
      },
    ],
  };
}

/** A finding; text: why it may be none. */
function onTwoNodes({ a, b, values }: SharedAddresses<NodeDigest<Held>>, nodes: CaseNodes): Finding | string {
  const texts = values.map(formatIp4);
  const address = texts[0] ?? '';
  const which = `${a.node} and ${b.node} both have a pod with ${address}`;
  const [sa, sb] = [nodes.source(a.node), nodes.source(b.node)];
  if (sa === undefined || sb === undefined) return `${which}, but one of them could not be opened again`;
  const network = flannelLease(sa)?.network?.prefix;
  const marks = network === undefined ? [] : ownMarks(sb, network);
  const same = network === undefined ? undefined : ownMarks(sa, network).find((m) => marks.includes(m));
  if (same !== undefined)
    return `${which} and both have ${same}: one machine collected twice, or nodes of two networks`;
  const [pa, pb] = [sa, sb].map((s) => podAddresses(s).find((p) => p.main && p.address === address));
  if (pa === undefined || pb === undefined) return `${which}, but one of them could not be read again`;
  const strangers = [strangerOn(a.node, sa, address), strangerOn(b.node, sb, address)].flatMap((s) => s ?? []);
  const apart =
    a.collectedAt === null || b.collectedAt === null
      ? 0
      : Math.abs(Date.parse(a.collectedAt) - Date.parse(b.collectedAt));
  const more =
    texts.length === 1
      ? ''
      : `; they share ${texts.length - 1} more (${texts.slice(1, SHOWN).join(', ')}${texts.length > SHOWN ? ' ...' : ''})`;
  const doubt = apart > HOUR_MS ? ', but their bundles are more than an hour apart: the first of them may be gone' : '';
  const [stranger] = strangers;
  const whose =
    stranger === undefined || strangers.length > 1 ? '' : `; it is not of the pod subnet that ${stranger.node} has now`;
  return {
    key: address,
    severity: apart > HOUR_MS ? 'medium' : 'high',
    confidence: apart > HOUR_MS ? 'possible' : apart > HOUR_MS / 6 ? 'likely' : 'proven',
    nodes: [a.node, b.node],
    about: texts.slice(0, SHOWN),
    message: `${which}${whose}${more}${doubt}`,
    cites: [cite(pa.link.fact, pa.span), cite(pb.link.fact, pb.span), ...strangers.map((s) => s.cite)],
    disprove: 'the pod of one node was gone when the other node was collected',
    ...(stranger === undefined || strangers.length > 1
      ? {}
      : {
          remediation: [
            {
              step: `Drain ${stranger.node}: its pods stayed behind from another pod subnet; made anew they get addresses of ${stranger.subnet}.`,
              run: `kubectl drain ${shellWord(stranger.node)} --ignore-daemonsets --delete-emptydir-data; kubectl uncordon ${shellWord(stranger.node)}`,
              verify: `kubectl get pods -A -o wide --field-selector spec.nodeName=${shellWord(stranger.node)}   # addresses of ${stranger.subnet}, but for pods of the host’s network`,
              undo: `kubectl uncordon ${shellWord(stranger.node)}`,
              risk: 'All pods of the node are made anew with new addresses; data in emptyDir is lost.',
            },
          ],
        }),
  };
}

/** The node's own lease does not hold the address. */
function strangerOn(
  node: string,
  source: FactSource,
  address: string,
): { node: string; subnet: string; cite: LineCite } | null {
  const lease = flannelLease(source);
  const ip = parsePrefix(address);
  if (
    lease?.subnet == null ||
    ip === null ||
    prefixContains(lease.subnet.prefix, { family: ip.family, value: ip.base })
  )
    return null;
  return { node, subnet: lease.subnet.text, cite: cite(lease.fact, lease.subnet) };
}
