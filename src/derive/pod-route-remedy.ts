import { formatIp4 } from '../core/address.ts';
import { prefixOf } from '../core/route-map.ts';
import { shellWord } from '../core/shell.ts';
import type { NonEmpty } from '../core/span.ts';
import { NOTHING_TO_UNDO, restartFlannel } from './flannel-remedy.ts';
import type { Asked, Loss, PodSurvey } from './pod-survey.ts';
import type { Step } from './step.ts';

type RouteStep = Omit<Step, 'risk'> & Partial<Pick<Step, 'risk'>>;

/** flanneld writes the routes again; a single route of vxlan or host-gw may be written by hand until then. */
export function podRouteRemedy(
  { node, own }: Asked,
  [loss, ...more]: NonEmpty<Loss>,
  { backend, direct }: Pick<PodSurvey, 'backend' | 'direct'>,
): readonly RouteStep[] {
  const { peer, subnet, route } = loss;
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
