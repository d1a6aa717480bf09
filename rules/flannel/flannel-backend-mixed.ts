import { formatPrefix } from '../../src/core/address.ts';
import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { otherNetwork } from '../../src/derive/flannel-backend.ts';
import { sameBackendAgain } from '../../src/derive/flannel-remedy.ts';
import {
  type FlannelTypes,
  flannelTypes,
  knownTies,
  type ListedType,
  leaseTie,
  listedTypes,
  NAMED,
  ownTies,
  TIE_KINDS,
  type TypeAt,
} from '../../src/derive/flannel-type.ts';
import type { CaseNodes, Cite, ClusterVerdict, Finding, Undecided } from '../../src/rule/index.ts';
import { definePathRule } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

/** Nodes that are opened for one pair of backends: so many of the rarer one, so many of the other. */
const RARE = 8;
const USUAL = 4;

interface Digest extends FlannelTypes {
  /** Why the question does not arise; else null. */
  readonly none: string | null;
  readonly network: string | null;
  readonly subnet: string | null;
  readonly addresses: readonly string[];
  /** Why its backend is not known, where it is not. */
  readonly untold: string;
  readonly listed: readonly ListedType[];
}

interface Member {
  readonly node: string;
  readonly digest: Digest;
  /** flanneld's word, else what it did, else what it is told. */
  readonly is: TypeAt;
}

export const rule = definePathRule({
  id: 'flannel-backend-mixed',
  title: {
    bad: 'Nodes of one cluster run different backends of flannel',
    good: 'The node has the backend of flannel that its routes to other nodes are of',
  },
  severity: 'critical',
  explanation:
    'flanneld takes no notice of leases of another backend (“Ignoring non-host-gw subnet”), so nodes of two backends have no routes to each other’s pods. It reads its backend when it starts: after an edit of the ConfigMap nodes change one by one, ' +
    'as their flannel restarts. Routes of before stay in the kernel and still work until the node is booted, which is when the fault shows.',
  remediation: [
    {
      step: 'Make the pods of flannel anew on every node, so that all read the same net-conf.json (ConfigMap kube-flannel-cfg).',
      run: 'kubectl delete pod -A -l app=flannel',
      verify: String.raw`kubectl get nodes -o custom-columns='NODE:.metadata.name,BACKEND:.metadata.annotations.flannel\.alpha\.coreos\.com/backend-type'`,
      undo: 'put the old Backend back into the ConfigMap kube-flannel-cfg and make the pods anew again',
      risk: 'Until the last node has changed, pods of nodes with different backends may not reach each other.',
    },
  ],
  references: [REF.flannelBackends, REF.flannelConfiguration],
  needs: ['routes4', 'addresses'],
  wants: [
    'flannelEnv',
    'flannelNetConf',
    'flanneldArgs',
    'k8sNodes',
    'cniConf',
    'bridges',
    'sysfs',
    'dockerNetworks',
    ...TIE_KINDS,
  ],
  explains: [
    'pod-route-missing-or-wrong',
    'vxlan-device-missing',
    'vxlan-forwarding-entry-wrong',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  extract({ node, wants, source }): Digest {
    const lease = flannelLease(source);
    const env = wants.flannelEnv;
    const listed = listedTypes(source);
    const types = flannelTypes(source, node.hostname);
    const own = ownTies(source);
    const other = otherNetwork(source);
    let none: string | null = null;
    if (other !== null) none = `${other.type} routes the pods of this node, not flannel`;
    else if (lease === null && types.routed === null && types.announced === null && env.missing && env.lookedFor)
      none = 'no flannel on this node: no subnet.env, no route of it';
    const network = lease?.network?.prefix ?? null;
    return {
      ...types,
      none,
      network: network === null ? null : formatPrefix(network),
      ...own,
      untold:
        env.missing && lease === null
          ? `subnet.env ${env.because}`
          : 'neither net-conf.json nor routes of one kind tell it',
      listed,
    };
  },
  evaluate(digests, nodes): ClusterVerdict {
    const findings: Finding[] = [];
    const unknown: Undecided[] = [];
    const passes: ClusterVerdict['passes'][number][] = [];
    const notApplicable: ClusterVerdict['notApplicable'][number][] = [];
    const members: Member[] = [];
    const guilty = new Set<string>();
    const listed = new Map<string, { readonly node: string; readonly types: readonly ListedType[] }>();
    for (const { node, digest } of digests) {
      const is = digest.announced ?? digest.routed ?? digest.configured;
      // the same API says the same in every bundle
      if (digest.listed.length > 0)
        listed.set(digest.listed.map((t) => `${t.type} ${t.count}`).join(), { node, types: digest.listed });
      if (digest.none !== null) notApplicable.push({ nodes: [node], because: digest.none });
      else if (is === null)
        unknown.push({
          nodes: [node],
          because: `which backend flannel has here is not known: ${digest.untold}`,
          evidence: ['flannel.net-conf'],
        });
      else members.push({ node, digest, is });
    }
    for (const { node, types } of listed.values()) {
      const found = listedFinding(node, types, members);
      if (found === null) continue;
      findings.push(found);
      for (const n of found.nodes) guilty.add(n);
    }
    const open = new Set<string>();
    for (const [network, same] of Map.groupBy(members, (m) => m.digest.network ?? '')) {
      const groups = [...Map.groupBy(same, (m) => m.is.type)].sort(
        (a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1),
      );
      const [usual, ...rare] = groups;
      if (usual === undefined || network === '') continue;
      for (const [type, few] of rare) {
        const tied = tiedTo(few, usual[1], nodes);
        const free = few.filter((m) => !guilty.has(m.node));
        if (isNonEmpty(tied.rare) && tied.usual !== null && free.length > 0) {
          findings.push(mixed(tied.rare, tied.usual, usual[1].length));
          for (const m of [...tied.rare, tied.usual]) guilty.add(m.node);
        }
        const apart = free.map((m) => m.node).filter((n) => !guilty.has(n));
        if (!isNonEmpty(apart)) continue;
        const [example] = usual[1];
        for (const n of apart) open.add(n);
        unknown.push({
          nodes: apart,
          because: `whether the nodes that run flannel’s backend ${type} are of one cluster with those that run ${usual[0]}${example === undefined ? '' : `, as ${example.node} does`}: they have one pod range (${network}), but nothing collected names one to the other`,
          evidence: ['k8s.nodes'],
        });
      }
    }
    for (const { node, digest, is } of members) {
      if (guilty.has(node) || open.has(node)) continue;
      const { configured, peers } = digest;
      if (configured !== null && configured.type !== is.type)
        unknown.push({
          nodes: [node],
          because: `net-conf.json says ${configured.type}, but its routes or flannel’s own word say ${is.type}: flanneld has not been started since that was changed, or left its routes behind`,
          evidence: ['k8s.node'],
        });
      else if (!peers)
        unknown.push({
          nodes: [node],
          because: 'it has no route to pods of another node, and none with another backend was collected',
          evidence: ['k8s.nodes'],
        });
      else
        passes.push({
          node,
          cites: [is.at, ...(digest.routed !== null && digest.routed !== is ? [digest.routed.at] : [])],
        });
    }
    for (const node of guilty) {
      // told by its finding
      const at = unknown.findIndex((u) => u.nodes.length === 1 && u.nodes[0] === node);
      if (at >= 0) unknown.splice(at, 1);
    }
    return { findings, passes, unknown, notApplicable: notApplicable.filter((n) => !guilty.has(n.nodes[0])) };
  },
});

/** Of the rarer backend the nodes that one of the others has entries for, or that have entries for one. */
function tiedTo(
  few: readonly Member[],
  many: readonly Member[],
  nodes: CaseNodes,
): { readonly rare: readonly Member[]; readonly usual: Member | null } {
  const usual = many.slice(0, USUAL).map((m) => ({ m, knows: knows(m, nodes) }));
  let first: Member | null = null;
  const rare: Member[] = [];
  for (const m of few.slice(0, RARE)) {
    const mine = knows(m, nodes);
    const hit = usual.find((u) => own(m).some((tie) => u.knows.has(tie)) || own(u.m).some((tie) => mine.has(tie)));
    if (hit === undefined) continue;
    first ??= hit.m;
    rare.push(m);
  }
  return { rare, usual: first };
}

function knows({ node }: Member, nodes: CaseNodes): ReadonlySet<string> {
  const source = nodes.source(node);
  return source === undefined ? new Set() : knownTies(source);
}

const own = ({ digest: { subnet, addresses } }: Member): string[] =>
  subnet === null ? [] : addresses.map((a) => leaseTie(subnet, a));

function mixed(rare: NonEmpty<Member>, usual: Member, count: number): Finding {
  const [one] = rare;
  const others =
    rare.length > 1
      ? ` (and ${rare
          .slice(1)
          .map((m) => m.node)
          .join(', ')})`
      : '';
  const more = count > 1 ? `, as ${count - 1} more of them do` : '';
  // routes of the time before still lead there
  const still = rare.every((m) => m.digest.routed?.type === usual.is.type);
  const sure = [...rare, usual].every(
    ({ is, digest: d }) =>
      is === d.announced || (is === d.routed && (is.type !== 'host-gw' || d.configured?.type === is.type)),
  );
  const cites: Cite[] = [];
  for (const m of [...rare.slice(0, 3), usual]) {
    cites.push(m.is.at);
    const { configured } = m.digest;
    if (configured !== null && configured !== m.is && configured.type !== m.is.type) cites.push(configured.at);
  }
  return {
    key: `${one.is.type} vs ${usual.is.type}`,
    severity: still ? 'high' : 'critical',
    confidence: sure ? 'proven' : 'likely',
    nodes: [one.node, ...rare.slice(1).map((m) => m.node), usual.node],
    message: `${one.node}${others} runs flannel’s backend ${one.is.type}, and ${usual.node} ${usual.is.type}${more}: neither takes notice of the other’s leases, so ${still ? 'only routes of before lead to each other’s pods, until a boot' : 'they have no routes to each other’s pods'}`,
    cites: isNonEmpty(cites) ? cites : [one.is.at],
    ...(still ? { latent: true } : {}),
    disprove: 'a restart of flannel on every node after the collection',
    remediation: sameBackendAgain([one, ...rare.slice(1)].map((m) => m.node)),
  };
}

/** What one list of the API says; `from`: the bundle that has it. null: bundles of the nodes that differ say otherwise. */
function listedFinding(
  from: string,
  [usual, ...all]: readonly ListedType[],
  members: readonly Member[],
): Finding | null {
  const known = new Map(members.map((m) => [m.node, m.is.type]));
  // a bundle knows its node better than a list
  const rare = all.flatMap((r) => {
    const names = r.names.filter((name) => (known.get(name) ?? r.type) === r.type);
    return names.length === 0 ? [] : [{ ...r, names }];
  });
  if (usual === undefined || !isNonEmpty(rare)) return null;
  const seen = rare.flatMap((r) => r.names).filter((name) => known.has(name));
  const like = usual.names.find((name) => known.get(name) === usual.type) ?? from;
  const nodes: NonEmpty<string> = isNonEmpty(seen)
    ? [seen[0], ...seen.slice(1), ...(seen.includes(like) ? [] : [like])]
    : [from];
  const said = rare.map(
    (r) => `${r.names.join(', ')}${r.count > NAMED ? ` and ${r.count - NAMED} more` : ''} ${r.type}`,
  );
  return {
    key: `listed ${[usual, ...rare]
      .map((t) => t.type)
      .sort()
      .join(' ')}`,
    // a node that is down, or left without its Node object, stands in the list with what it was
    severity: seen.length > 0 ? 'critical' : 'medium',
    confidence: seen.length > 0 ? 'proven' : 'possible',
    nodes,
    message: `Nodes of one cluster announce different backends of flannel: ${said.join('; ')}, but ${usual.count} ${usual.type}; they take no notice of each other’s leases`,
    cites: [rare[0].at, ...rare.slice(1).map((r) => r.at), usual.at],
    ...(seen.length > 0 ? {} : { latent: true }),
    disprove: 'nodes in the list that do not run any more: then delete their Node objects',
    remediation: sameBackendAgain(rare.flatMap((r) => r.names)),
  };
}
