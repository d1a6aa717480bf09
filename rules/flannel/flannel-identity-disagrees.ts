import { formatIp, formatPrefix, parseIp4, parsePrefix, samePrefix } from '../../src/core/address.ts';
import { shellWord } from '../../src/core/shell.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { otherNetwork } from '../../src/derive/flannel-backend.ts';
import { restartFlannel, restartKubelet } from '../../src/derive/flannel-remedy.ts';
import { ownNode } from '../../src/derive/kubelet-node.ts';
import { homeless, vteps } from '../../src/derive/overlay.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Finding } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, isClosed, notApplicable, unknown } from '../../src/rule/index.ts';
import { NodeTally } from '../../src/rule/node-tally.ts';
import { REF } from '../../src/rule/references.ts';

const SAME = 'a later collection in which they are the same';

export const rule = defineNodeRule({
  id: 'flannel-identity-disagrees',
  title: {
    bad: 'flannel’s files, its device and what it announces tell of different leases',
    good: 'What was collected of flannel’s files, its device and its announcements tells of one lease',
  },
  severity: 'critical',
  explanation:
    'Other nodes act on what is announced of a node, its new pods on subnet.env, and its kernel on the device. All three come from one lease; where they differ one of them is of an earlier one, ' +
    'after the node was joined again, renumbered or restored, and flannel has not been restarted since. Then one direction is lost, or pods have addresses that nobody routes here.',
  remediation: [
    {
      step: 'Restart flannel on the node: it writes all three from the lease that it has now.',
      run: restartFlannel('<node>'),
      verify:
        'cat /run/flannel/subnet.env; ip -4 addr show flannel.1; kubectl get node <node> -o yaml | grep -E "podCIDR|flannel.alpha"',
      undo: 'none needed: all three are derived from the lease',
    },
    {
      step: 'Where the subnet has changed, drain the node and let its bridge and pods be made anew.',
      run: 'ip link del cni0; rm -rf /var/lib/cni/networks/cbr0 /var/lib/cni/flannel; systemctl restart kubelet',
      verify: '. /run/flannel/subnet.env; ip -4 addr show cni0 | grep -w "${FLANNEL_SUBNET}"',
      undo: 'uncordon the node; there is nothing to bring back: the old addresses were unreachable',
      risk: 'Every pod of the node loses its network until the kubelet has made it anew.',
    },
  ],
  references: [REF.flannelReservations, REF.flannelKubernetes, REF.flannelConfiguration],
  needs: [],
  needsAny: ['flannelEnv'],
  wants: ['flannelEnv', 'k8sNodes', 'links', 'addresses', 'flanneldArgs', 'kubeletArgs', 'k3sArgs', 'cniConf'],
  explains: [
    'pod-route-missing-or-wrong',
    'pod-cidr-duplicate',
    'vxlan-forwarding-entry-wrong',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, wants, source }) {
    const other = otherNetwork(source);
    if (other !== null)
      return notApplicable(`${other.type} routes the pods of this node, not flannel`, [cite(other.fact, other.span)]);
    const { addresses, flanneldArgs, k3sArgs } = wants;
    const lease = flannelLease(source);
    const api = ownNode(source, node.hostname);
    const said = api?.own.publicIp;
    const ground =
      lease !== null
        ? cite(lease.fact, lease.subnet ?? { line: 1 })
        : api === null || said === undefined
          ? null
          : cite(api.fact, said);
    if (ground === null) return notApplicable('no flannel on this node: no subnet.env, nothing announced');
    const tally = new NodeTally(node.id);
    let compared = false;
    const restart = restartFlannel(api?.own.name ?? node.hostname ?? node.id, k3sArgs);
    const make = (finding: Pick<Finding, 'key' | 'severity' | 'confidence' | 'message' | 'cites' | 'remediation'>) =>
      tally.fault({ ...finding, nodes: [node.id], disprove: SAME });
    const cidr = podCidr();
    if (lease?.subnet != null) device(lease.fact, lease.subnet);
    publicIp();
    if (!compared)
      return unknown(
        node.id,
        lease === null
          ? 'nothing but what flannel announces of the node was collected: nothing to compare it with'
          : 'only subnet.env was collected of what flannel says of the node: nothing to compare it with',
        lease === null ? ['flannel.subnet-env', 'ip.addr'] : ['k8s.node', 'k8s.nodes'],
      );
    return tally.verdict([ground]);

    /** In etcd mode it is not flannel's, and means nothing to it. */
    function podCidr(): 'same' | 'other' | null {
      const etcd =
        !flanneldArgs.missing && flag(flanneldArgs.value, 'kube-subnet-mgr') === undefined && k3sArgs.missing;
      if (lease?.subnet == null || api === null || said === undefined || etcd) return null;
      const { own, fact } = api;
      const [range] = own.podCidrs.filter((c) => parsePrefix(c)?.family === 4);
      const prefix = range === undefined ? null : parsePrefix(range);
      if (range === undefined || prefix === null || own.podCidrsAt === undefined) return null;
      compared = true;
      const at = cite(fact, own.podCidrsAt);
      if (samePrefix(prefix, lease.subnet.prefix)) {
        tally.passed([cite(lease.fact, lease.subnet), at]);
        return 'same';
      }
      make({
        key: 'podCIDR',
        severity: 'critical',
        confidence: flanneldArgs.missing ? 'likely' : 'proven',
        message: `subnet.env on ${node.id} has ${lease.subnet.text}, but the node’s podCIDR is ${range}: other nodes route ${range} here, and pods get addresses of ${formatPrefix(lease.subnet.prefix)}`,
        cites: [cite(lease.fact, lease.subnet), at],
        remediation: [
          {
            step: `Drain ${node.id} and restart flannel there: it writes subnet.env for ${range}.`,
            run: restart,
            verify: `grep FLANNEL_SUBNET /run/flannel/subnet.env   # inside ${range}`,
            undo: 'none needed: subnet.env is derived from the lease',
          },
          {
            step: 'Then remove the old bridge and its leases; the CNI plugin makes the bridge anew from subnet.env.',
            run: `ip link del cni0; rm -rf /var/lib/cni/networks/cbr0 /var/lib/cni/flannel; ${restartKubelet(k3sArgs)}`,
            verify: '. /run/flannel/subnet.env; ip -4 addr show cni0 | grep -w "${FLANNEL_SUBNET}"',
            undo: 'uncordon the node; there is nothing to bring back: the old addresses were unreachable',
            risk: 'Every pod of the node loses its network until the kubelet has made it anew.',
          },
        ],
      });
      return 'other';
    }

    /** flanneld gives its device the first address of the lease. */
    function device(
      env: NonNullable<typeof lease>['fact'],
      subnet: NonNullable<NonNullable<typeof lease>['subnet']>,
    ): void {
      const ends = vteps(source).filter((v) => v.addresses.length > 0);
      const [end, second] = ends;
      if (end === undefined || wants.links.missing) return;
      if (second !== undefined) {
        tally.unknown(`which of ${ends.map((e) => e.dev).join(', ')} flannel uses is not told`, ['ip.route4']);
        compared = true;
        return;
      }
      compared = true;
      const base = formatIp({ family: subnet.prefix.family, value: subnet.prefix.base });
      const at = cite(wants.links, end);
      const has = addresses.missing ? undefined : addresses.value.devices.find((d) => d.name === end.dev)?.addresses[0];
      const addressAt = has === undefined || addresses.missing ? at : cite(addresses, has);
      if (end.addresses.includes(base)) return void tally.passed([cite(env, subnet), addressAt]);
      // the finding before this one says it
      if (cidr === 'other') return;
      const word = shellWord(end.dev);
      make({
        key: `device ${end.dev}`,
        severity: 'high',
        confidence: 'likely',
        message: `subnet.env on ${node.id} has ${subnet.text}, but ${end.dev} has ${end.addresses.join(', ')}, not ${base}: ${
          cidr === 'same'
            ? 'the device is of another lease, and what the node itself sends to pods of others is not answered'
            : 'one of them is of another lease than other nodes know'
        }`,
        cites: [cite(env, subnet), addressAt],
        remediation: [
          {
            step: 'Restart flannel on the node, so that both come from one lease; see that no second flanneld runs there, and that nobody else set the device’s address.',
            run: restart,
            verify: `grep FLANNEL_SUBNET /run/flannel/subnet.env; ip -4 addr show ${word}`,
            undo: 'none needed: both are derived from the lease',
          },
        ],
      });
    }

    function publicIp(): void {
      if (api === null || said === undefined || addresses.missing || parseIp4(said.value) === null) return;
      const { own, fact } = api;
      // the device has an address that is gone: vxlan-forwarding-entry-wrong says that
      if (homeless(source).length > 0) return;
      const holder = addresses.value.devices.flatMap((d) => d.addresses).find((a) => a.address === said.value);
      if (holder !== undefined) {
        compared = true;
        return void tally.passed([cite(fact, said), cite(addresses, holder)]);
      }
      const told = flanneldArgs.missing ? undefined : flag(flanneldArgs.value, 'public-ip');
      const external = k3sArgs.missing ? undefined : flag(k3sArgs.value, 'flannel-external-ip');
      // by which address others reach it is somebody's word: a router translates it
      if (own.publicIpOverwrite !== undefined || told !== undefined || external !== undefined) return;
      compared = true;
      if (!isClosed(addresses) || (flanneldArgs.missing && k3sArgs.missing))
        return void tally.unknown(
          `${node.id} announces ${said.value}, which is no address of it: whether flannel was told so (--public-ip) was not collected`,
          isClosed(addresses) ? ['flannel.cmdline'] : ['ip.addr'],
        );
      const [end] = vteps(source).filter((v) => v.local !== null);
      make({
        key: 'public-ip',
        severity: 'critical',
        confidence: 'likely',
        message: `${node.id} announces ${said.value}, which it does not have${end === undefined ? '' : ` (its ${end.dev} has ${end.local})`}: what other nodes send there for its pods is lost`,
        cites: [
          cite(fact, said),
          absent(addresses, `the address ${said.value}`),
          ...(end === undefined || wants.links.missing ? [] : [cite(wants.links, end)]),
        ],
        remediation: [
          {
            step: `Restart flannel on the node: it announces the address that the node has now. Where a router translates ${said.value} to it, say so instead (annotation flannel.alpha.coreos.com/public-ip-overwrite).`,
            run: restart,
            verify: `kubectl get node ${shellWord(own.name)} -o yaml | grep public-ip`,
            undo: 'none needed: the annotation is derived from the node’s address',
          },
        ],
      });
    }
  },
});
