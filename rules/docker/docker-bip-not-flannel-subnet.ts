import { formatPrefix, parsePrefix, prefixCovers } from '../../src/core/address.ts';
import { setInDaemonJson } from '../../src/derive/daemon-json-edit.ts';
import { containerBridges, tellsPorts } from '../../src/derive/devices.ts';
import type { Told } from '../../src/derive/docker-daemon.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { flag, setting } from '../../src/derive/settings.ts';
import type { NodeView, Remediation } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, isClosed, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const WANTS = [
  'flannelEnv',
  'links',
  'bridges',
  'sysfs',
  'dockerNetworks',
  'dockerContainers',
  'dockerdArgs',
  'dockerUnit',
  'daemonJson',
  'cniConf',
] as const;
type View = NodeView<'addresses', (typeof WANTS)[number]>;

const RESTART: Remediation = {
  step: 'Let flanneld write dockerd’s options (mk-docker-opts.sh as its ExecStartPost), let dockerd start after it and read them (EnvironmentFile=, and the variable in ExecStart=), and restart both.',
  run: 'systemctl cat flanneld docker; systemctl daemon-reload && systemctl restart flanneld docker',
  verify: '. /run/flannel/subnet.env; ip -4 addr show docker0 | grep -w "$FLANNEL_SUBNET"',
  risk: 'Stops every container; those with live-restore would keep their old addresses, so stop them first.',
};

export const rule = defineNodeRule({
  id: 'docker-bip-not-flannel-subnet',
  title: {
    bad: 'docker0 does not have the subnet that flannel leased: its containers are outside the overlay',
    good: 'docker0 has the subnet that flannel leased',
  },
  severity: 'critical',
  explanation:
    'Where Docker’s own bridge is the pod network (flannel without CNI), dockerd must start with --bip of the lease. It reads that once: started before flanneld, or without its file of options, it takes 172.17.0.0/16 on every node, ' +
    'so that other nodes’ routes lead to addresses that nobody has, and the same addresses exist on all of them.',
  remediation: [RESTART],
  references: [REF.flannelRunning, REF.dockerd],
  needs: ['addresses'],
  needsAny: ['flannelEnv'],
  wants: WANTS,
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate(view) {
    const { node, facts, wants, source } = view;
    const lease = flannelLease(source);
    if (lease === null) return notApplicable('no flannel on this node: no subnet.env');
    if (lease.subnet === null)
      return unknown(node.id, 'subnet.env holds no readable FLANNEL_SUBNET', ['flannel.subnet-env']);
    const { subnet, network } = lease;
    const [conf] = wants.cniConf;
    if (conf !== undefined) return notApplicable('pods get their network from a CNI plugin', [cite(conf, { line: 1 })]);
    const cni = containerBridges(source).find((b) => /^(cni|cbr)\d+$/.test(b.name));
    if (cni !== undefined)
      return notApplicable(`pods get their network from a CNI plugin (${cni.name})`, [
        cite(facts.addresses, cni.device),
      ]);
    const bridge = facts.addresses.value.devices.find((d) => d.name === 'docker0');
    if (bridge === undefined) {
      if (!isClosed(facts.addresses))
        return unknown(node.id, 'the list of the node’s devices was not collected whole', [facts.addresses.evidence]);
      return notApplicable('there is no docker0 on this node');
    }
    const four = bridge.addresses.filter((a) => a.family === 4);
    const match = four.find((a) => a.address === subnet.address && a.prefixLength === subnet.prefix.length);
    if (match !== undefined) return pass(cite(facts.addresses, match), cite(lease.fact, subnet));
    const [has] = four;
    const given = bipOf(view);
    const own = has === undefined ? null : parsePrefix(has.address);
    if (given || (own !== null && network !== null && prefixCovers(network.prefix, own)))
      return notApplicable('docker0 was given a subnet: bridge-address-not-in-lease judges which');
    if (has === undefined) return notApplicable('docker0 has no IPv4 address: bridge-down-or-addressless judges that');
    const elsewhere = leaseNetwork(view, formatPrefix(subnet.prefix));
    if (elsewhere !== null)
      return notApplicable('another network of Docker has the leased subnet', [cite(elsewhere.fact, elsewhere.span)]);
    const why = meantFor(view);
    if (why === null) {
      const asked = !wants.dockerUnit.missing || !wants.dockerContainers.missing;
      if (!asked)
        return unknown(node.id, 'whether dockerd is meant to use flannel’s subnet', [
          'docker.unit',
          'docker.containers',
        ]);
      return notApplicable('nothing tells that containers of docker0 are meant to be in flannel’s network', [
        cite(facts.addresses, has),
      ]);
    }
    const ports = containerBridges(source).find((b) => b.name === 'docker0')?.ports.length ?? 0;
    const used = ports > 0 || !tellsPorts(source, 'docker0');
    const shown = `${has.address}/${has.prefixLength}`;
    const file = why.unit
      ? []
      : [
          {
            step: 'At once, without flanneld’s options: give dockerd the lease. It does not follow when that changes.',
            ...byFile(view, subnet.text),
            ...VERIFY,
          },
        ];
    return findings([
      {
        key: 'docker0',
        severity: used ? 'critical' : 'medium',
        confidence: why.unit && ports > 0 ? 'proven' : 'likely',
        nodes: [node.id],
        latent: !used,
        message: `docker0 on ${node.id} has ${shown} but flannel leased ${subnet.text}: ${used ? 'its containers are' : 'containers will be'} outside the subnet that other nodes route to this node`,
        cites: [cite(facts.addresses, has), cite(lease.fact, subnet), cite(why.fact, why.span)],
        disprove: 'containers that are not meant to be reached from other nodes',
        remediation: [RESTART, ...file],
      },
    ]);
  },
});

const VERIFY = { verify: RESTART.verify ?? '', risk: 'Stops every container.' };

const byFile = ({ source }: View, bip: string) => setInDaemonJson({ bip }, source);

/** dockerd was told which subnet, whether or not it is the right one. */
function bipOf({ wants }: View): boolean {
  const { dockerdArgs, daemonJson } = wants;
  if (!dockerdArgs.missing && flag(dockerdArgs.value, 'bip', 'b', 'bridge') !== undefined) return true;
  return !daemonJson.missing && setting(daemonJson.value, 'bip') !== undefined;
}

/** `docker network create --subnet=$FLANNEL_SUBNET` holds the containers. */
function leaseNetwork({ wants: { dockerNetworks } }: View, subnet: string): Told | null {
  if (dockerNetworks.missing) return null;
  const found = dockerNetworks.value.networks.find((n) => n.ipam.some((i) => i.subnet === subnet));
  return found === undefined ? null : { fact: dockerNetworks, span: { line: found.line } };
}

/** What says that docker0 is the pod network: docker’s unit reads flannel’s options, or pods of Kubernetes hang on it. */
function meantFor({ wants: { dockerUnit, dockerContainers } }: View): (Told & { readonly unit: boolean }) | null {
  const line = dockerUnit.missing
    ? undefined
    : dockerUnit.value.entries.find(
        (e) =>
          (/^(EnvironmentFile|ExecStartPre)$/.test(e.key) && /flannel/.test(e.value)) ||
          (e.key === 'ExecStart' && /\$\{?(DOCKER_NETWORK_OPTIONS|DOCKER_OPT_BIP|FLANNEL_SUBNET)\b/.test(e.value)),
      );
  if (!dockerUnit.missing && line !== undefined) return { fact: dockerUnit, span: line, unit: true };
  if (dockerContainers.missing) return null;
  const pod = dockerContainers.value.containers.find(
    (c) =>
      c.state === 'running' && c.name.startsWith('k8s_POD_') && c.networks.some((n) => n.name === 'bridge' && n.ip),
  );
  return pod === undefined ? null : { fact: dockerContainers, span: { line: pod.line }, unit: false };
}
