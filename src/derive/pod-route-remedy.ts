import { formatIp4, parsePrefix, prefixContains } from '../core/address.ts';
import { prefixOf } from '../core/route-map.ts';
import { shellWord } from '../core/shell.ts';
import type { NonEmpty } from '../core/span.ts';
import { NOTHING_TO_UNDO, restartFlannel } from './flannel-remedy.ts';
import type { Asked, Loss, PodSurvey } from './pod-survey.ts';
import type { Step } from './step.ts';

type RouteStep = Omit<Step, 'risk'> & Partial<Pick<Step, 'risk'>>;

/** What takes the packets before flannel's route is asked: a policy rule, or a route for a part of the subnet. flanneld touches neither. */
function foreignStep({ node, own }: Asked, { peer, subnet, route }: Loss): RouteStep | null {
  const { piece } = route;
  const { way } = piece;
  const probe = formatIp4(peer.first + 10);
  const range = own.range === null ? null : parsePrefix(own.range.own);
  const [bridge] = own.bridges;
  const from =
    range === null || bridge === undefined
      ? ''
      : ` from ${formatIp4(Number(range.base) + 10)} iif ${shellWord(bridge)}`;
  const verify = `ip route get ${probe}${from}`;
  if (own.mainless && way.type === 'none')
    return {
      step: `Let ${node} look up the main table again, and find out who deleted the rule.`,
      run: 'ip rule add pref 32766 lookup main',
      verify,
      undo: 'ip rule del pref 32766 lookup main',
    };
  if (way.rule !== undefined && own.range !== null)
    return {
      step: `A policy rule on ${node} decides before the main table is asked, where flannel has its routes: let the pod range be looked up there first, and make it last where the other rule was made (NetworkManager, networkd, a VPN client).`,
      run: `ip rule add pref 1 to ${own.range.network} lookup main`,
      verify,
      undo: `ip rule del pref 1 to ${own.range.network} lookup main`,
      risk: 'Packets to pods no longer take the ways of the other rules.',
    };
  if (piece.length <= Number(subnet.split('/')[1]) || !/^(astray|rejected)$/.test(route.kind)) return null;
  const [hop, second] = way.hops;
  if (second !== undefined) return null;
  const to =
    hop === undefined
      ? ''
      : `${typeof hop[1] === 'number' ? ` via ${formatIp4(hop[1])}` : ''} dev ${shellWord(hop[0])}`;
  const written =
    way.type === 'unicast' ? `${shellWord(prefixOf(piece))}${to}` : `${way.type} ${shellWord(prefixOf(piece))}`;
  return {
    step: `Delete the route for a part of ${subnet} on ${node}, and find out who wrote it: flanneld writes none of that kind.`,
    run: `ip route del ${written}`,
    verify,
    undo: `ip route add ${written}`,
  };
}

/**
 * Over host-gw the kernel refuses a route to a node whose addresses are on none of the asking node's networks ("Nexthop has invalid gateway"):
 * flanneld tries and cannot. null: that is not so, or not known.
 */
export function beyondRouter({ own }: Asked, { peer, route }: Loss, backend: string | null): readonly string[] | null {
  const { onLink } = own;
  if ((own.backend ?? backend) !== 'host-gw' || onLink === null || route.kind !== 'missing' || !peer.whole) return null;
  const links = onLink.map(parsePrefix).filter((p) => p !== null);
  const hops = [...peer.underlay];
  const near = hops.some((ip) => links.some((p) => prefixContains(p, { family: 4, value: BigInt(ip) })));
  return near || hops.length === 0 ? null : hops.map(formatIp4);
}

const EDIT = (sed: string) =>
  `ns=$(kubectl get cm -A --field-selector metadata.name=kube-flannel-cfg -o jsonpath='{.items[0].metadata.namespace}'); kubectl -n "$ns" get cm kube-flannel-cfg -o yaml | sed '${sed}' | kubectl apply -f - && kubectl delete pod -A -l app=flannel`;

/** A backend that wraps packets where it has to. */
const VXLAN_INSTEAD: RouteStep = {
  step: 'host-gw reaches direct neighbours only: change the backend to vxlan with DirectRouting, which does what host-gw does where it can (net-conf.json in the ConfigMap kube-flannel-cfg; in etcd mode the configuration there), and make flannel’s pods anew on every node. UDP port 8472 has to be open between nodes.',
  run: EDIT('s/"Type": *"host-gw"/"Type": "vxlan", "DirectRouting": true/'),
  verify: 'ip -d link show flannel.1; ip route | grep flannel.1',
  undo: EDIT('s/"Type": *"vxlan", *"DirectRouting": *true/"Type": "host-gw"/'),
  risk: 'Pods of nodes that have changed and of those that have not do not reach each other; packets get 50 bytes larger, and pods have the smaller MTU only once they were made anew.',
};

/** flanneld writes the routes again; a single route of vxlan or host-gw may be written by hand until then. */
export function podRouteRemedy(
  asked: Asked,
  [loss, ...more]: NonEmpty<Loss>,
  { backend, direct }: Pick<PodSurvey, 'backend' | 'direct'>,
): readonly RouteStep[] {
  const { node, own } = asked;
  const { peer, subnet, route } = loss;
  const foreign = foreignStep(asked, loss);
  if (foreign !== null) return [foreign];
  if ([loss, ...more].every((l) => beyondRouter(asked, l, backend) !== null)) return [VXLAN_INSTEAD];
  const verify = `ip route get ${formatIp4(peer.first + 10)}`;
  const restarted: RouteStep = {
    step: `Restart flanneld on ${node}: it writes the routes of every lease again.`,
    run: restartFlannel(node),
    verify,
    undo: NOTHING_TO_UNDO,
  };
  const { way } = route.piece;
  const [next] = peer.underlay;
  const type = own.backend ?? backend;
  if (more.length > 0 || route.part || way.rule !== undefined) return [restarted];
  // the kernel takes no route into a device that is down; one that others do not use may be left of another backend
  const dev = own.overlay?.up === true && (own.configured || !direct) ? own.overlay.dev : null;
  const to =
    type === 'vxlan' && dev !== null
      ? `via ${formatIp4(peer.first)} dev ${shellWord(dev)} onlink`
      : type === 'host-gw' && next !== undefined
        ? `via ${formatIp4(next)}`
        : null;
  if (to === null) return [restarted];
  const clear = route.kind === 'rejected' ? `ip route del ${way.type} ${shellWord(prefixOf(route.piece))}; ` : '';
  return [
    restarted,
    {
      step: `Until then write the route on ${node} by hand.`,
      run: `${clear}ip route replace ${subnet} ${to}`,
      verify,
      undo: `ip route del ${subnet}`,
      risk: 'flanneld does not know of it: it stays when the lease goes.',
    },
  ];
}
