import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { effectiveConf, isOtherNetwork } from '../../src/derive/cni.ts';
import { hasCarrier, isUp } from '../../src/derive/devices.ts';
import { flannelLease } from '../../src/derive/flannel.ts';
import { flannelBackend } from '../../src/derive/flannel-backend.ts';
import {
  announcedMac,
  flannelDevices,
  isFlannelVxlan,
  otherWay,
  type Shown,
} from '../../src/derive/flannel-devices.ts';
import { restartFlannel } from '../../src/derive/flannel-remedy.ts';
import { peerRoutes } from '../../src/derive/pods.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Cite, Confidence, Finding, Remediation, Undecided } from '../../src/rule/index.ts';
import {
  absent,
  cite,
  defineNodeRule,
  findings,
  isClosed,
  notApplicable,
  pass,
  unknown,
} from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const RESTART: Remediation = {
  step: 'Restart flannel on the node: it makes the device, its address, routes and entries again (with k3s: restart k3s or k3s-agent).',
  run: restartFlannel('<node>'),
  verify: 'ip -d link show type vxlan; ip route | grep flannel',
  undo: 'none needed: the device is derived from the lease',
};

export const rule = defineNodeRule({
  id: 'vxlan-device-missing',
  title: {
    bad: 'flannel’s vxlan device is missing or down, or what it sends by is',
    good: 'flannel’s vxlan device and the device below it are up',
  },
  severity: 'critical',
  explanation:
    'All routes to other nodes’ pods lead into flannel’s vxlan device: without it, or with it down, the kernel has none of them. ' +
    'The device stays up when the one below it is dead, and then everything that goes in is lost.',
  remediation: [
    RESTART,
    {
      step: 'When it does not come back, look whether the running kernel has the module; some distributions have it in a package of its own.',
      run: 'modprobe -n -v vxlan; ls /lib/modules/$(uname -r)',
      verify: 'grep -w vxlan /proc/modules',
      undo: 'none needed: nothing was changed',
    },
    {
      step: 'Keep NetworkManager and other programs that manage devices off flannel’s (unmanaged-devices=interface-name:flannel*): one of them may have deleted it or taken it down.',
    },
  ],
  references: [REF.flannelBackends, REF.flannelVxlan, REF.vxlan],
  needs: ['addresses'],
  wants: [
    'links',
    'routes4',
    'routes6',
    'fdb',
    'flannelEnv',
    'flannelNetConf',
    'flanneldArgs',
    'k3sArgs',
    'k8sNodes',
    'cniConf',
  ],
  explains: ['pod-route-missing-or-wrong', 'trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, wants, source }) {
    const { routes4, flannelEnv, flannelNetConf, flanneldArgs, k3sArgs, k8sNodes } = wants;
    const all = flannelDevices(source);
    const { lists, names: devices, used, shown } = all;
    const backend = flannelBackend(source);
    const known = typeof backend === 'string' ? null : backend;
    const traces = devices.length > 0 || used.size > 0 || !flannelEnv.missing || !flannelNetConf.missing;
    if (!traces && flanneldArgs.missing) {
      const asked = [flannelEnv, flannelNetConf].every((f) => f.missing && f.lookedFor);
      if (asked) return notApplicable('no flannel on this node: no subnet.env, no net-conf.json, no flannel device');
      return unknown(node.id, 'whether flannel runs on this node was not collected', [
        'flannel.subnet-env',
        'flannel.net-conf',
      ]);
    }
    const { context } = node;
    if (context.netns !== null && context.pid1netns !== null && context.netns !== context.pid1netns)
      return unknown(
        node.id,
        'the collector ran inside a network namespace of its own: these are not the node’s devices',
        ['ip.link'],
      );
    if (known !== null && known.type !== 'vxlan' && used.size === 0)
      return notApplicable(`flannel’s backend is ${known.type}, not vxlan`, [cite(known.fact, known.span)]);
    const k3sWithout = k3sArgs.missing ? undefined : flag(k3sArgs.value, 'flannel-backend');
    if (k3sWithout?.value === 'none' && used.size === 0 && !k3sArgs.missing && flanneldArgs.missing)
      return notApplicable('k3s runs without flannel', [cite(k3sArgs, k3sWithout)]);

    const effective = effectiveConf(wants.cniConf);
    const foreign = effective?.value.plugins.some(isOtherNetwork) === true;
    /** That flannel still runs here: a lease and a configuration stay behind when another CNI replaces it. */
    const runs = !flanneldArgs.missing || (!k3sArgs.missing && !foreign);
    const alive = runs || effective?.value.plugins.some((p) => p.type === 'flannel') === true;
    const lease = flannelLease(source);
    /** Pods of other nodes that are reached without the device. */
    const directly = peerRoutes(source).find((p) => !isFlannelVxlan(p.dev));

    const found: Finding[] = [];
    const open: Undecided[] = [];
    const proof: Cite[] = [];
    const doubt = (because: string, evidence: readonly string[]) => open.push({ nodes: [node.id], because, evidence });
    const told = known?.type === 'vxlan' ? [cite(known.fact, known.span)] : [];

    const wanted = wantedDevices();
    for (const name of wanted) {
      const [at] = shown(name);
      if (at === undefined) missing(name);
      else if (shown(name).some(({ device }) => !isUp(device))) down(name, at);
      else below(name, at);
    }
    if (wanted.length === 0) {
      const why =
        known === null ? `flannel’s backend is not known: ${backend}` : 'net-conf.json turns both address families off';
      return unknown(node.id, why, ['flannel.net-conf']);
    }
    if (isNonEmpty(found)) return findings(found, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    const [first, ...more] = proof;
    return first === undefined ? unknown(node.id, 'no device was judged', ['ip.link']) : pass(first, ...more);

    /** What routes use speaks first: net-conf.json may be newer than the running flanneld. Without it, what there is. */
    function wantedDevices(): readonly string[] {
      const names = new Set(used.keys());
      const families = [...(known?.ipv4 === true ? ['flannel'] : []), ...(known?.ipv6 === true ? ['flannel-v6'] : [])];
      if (known?.type === 'vxlan') {
        for (const family of families)
          if (![...names].some((n) => n.startsWith(`${family}.`))) names.add(`${family}.${known.vni}`);
      } else if (known === null && names.size === 0) for (const name of devices) names.add(name);
      return [...names];
    }

    function missing(name: string): void {
      const whole = lists.find((fact) => isClosed(fact) && fact.value.devices.some((d) => d.mac !== undefined));
      if (whole === undefined || !isClosed(whole))
        return void doubt(`whether ${name} exists is not known: the node’s devices were not collected whole`, [
          'ip.link',
        ]);
      if (used.has(name))
        return void doubt(
          `routes lead into ${name}, which is not among the node’s devices: they were not collected at one moment`,
          ['ip.link', 'ip.route4'],
        );
      const family = name.slice(0, name.lastIndexOf('.') + 1);
      const other = devices.find((d) => d.startsWith(family));
      if (other !== undefined)
        return void doubt(
          `net-conf.json asks for ${name}, but ${other} is there: whether flanneld has read it since it changed is not known`,
          ['flannel.cmdline', 'ip.route4'],
        );
      if (!alive)
        return void doubt(`${name} is missing, but nothing collected shows that flannel still runs on this node`, [
          'flannel.cmdline',
          'cni.conf',
        ]);
      // routes that lead to other nodes' pods without the device would show that another backend runs
      const seen = !routes4.missing && lease?.network != null && whole.evidence !== 'ip.ifconfig';
      const confidence = runs && seen ? 'proven' : 'likely';
      report(name, 'missing', [...told, absent(whole, `the device ${name}`)], confidence, [RESTART]);
    }

    function down(name: string, { device, fact }: Shown): void {
      if (shown(name).some((s) => isUp(s.device)))
        return void doubt(`${name} is up in one list of devices and down in the other: it was changed meanwhile`, [
          'ip.link',
          'ip.addr',
        ]);
      const mac = k8sNodes.missing ? null : announcedMac(k8sNodes, node.hostname);
      const cites: Cite[] = [cite(fact, device), ...told];
      let confidence: Confidence = runs ? 'proven' : 'likely';
      if (known === null) {
        // flannel left the device behind when its backend was changed: something must tie it to the lease
        confidence = 'likely';
        const mtu = lease?.mtu ?? null;
        if (!k8sNodes.missing && mac !== null && mac.value === device.mac) cites.push(cite(k8sNodes, mac));
        else if (lease !== null && mtu !== null && mtu.value === device.mtu) cites.push(cite(lease.fact, mtu));
        else
          return void doubt(`${name} is down, but whether flannel’s backend is vxlan is not known: ${backend}`, [
            'flannel.net-conf',
          ]);
      }
      if (!alive && known === null && flannelEnv.missing)
        return void doubt(`${name} is down, but nothing collected shows that flannel still runs on this node`, [
          'flannel.cmdline',
        ]);
      if (!alive && foreign)
        return void doubt(`${name} is down, but another CNI makes the pods’ links: flannel may have been replaced`, [
          'flannel.cmdline',
        ]);
      const up: Remediation = {
        step: `Set ${name} up; its routes and neighbours went when it was taken down, so restart flannel as well.`,
        run: `ip link set dev ${shellWord(name)} up`,
        verify: `ip -d link show dev ${shellWord(name)}   # UP among the flags; state UNKNOWN is normal`,
        undo: `ip link set dev ${shellWord(name)} down`,
      };
      report(name, 'down', cites, confidence, [up, RESTART]);
    }

    function report(
      name: string,
      state: 'missing' | 'down',
      cites: readonly Cite[],
      confidence: Confidence,
      remediation: readonly Remediation[],
    ): void {
      const [first, ...more] = cites;
      if (first === undefined) return;
      const six = name.startsWith('flannel-v6');
      const route = directly === undefined || routes4.missing || six ? null : cite(routes4, directly.route);
      if (route !== null && known?.directRouting !== true)
        return void doubt(
          `${name} is ${state}, but the node reaches other nodes’ pods without it: flanneld seems to run with another backend than net-conf.json has now`,
          ['flannel.cmdline'],
        );
      const latent = route !== null;
      const effect = latent
        ? 'pods of nodes on its own network are reached directly, those of nodes behind a router are not'
        : `its pods and ${six ? 'other nodes’ pods do not reach each other by IPv6' : 'those of other nodes do not reach each other'}`;
      found.push({
        key: `${name} ${state}`,
        severity: latent ? 'medium' : six && known?.ipv4 !== false ? 'high' : 'critical',
        confidence,
        nodes: [node.id],
        message: `${name} is ${state} on ${node.id}, whose flannel backend is vxlan: ${effect}`,
        cites: [first, ...more, ...(route === null ? [] : [route])],
        ...(latent ? { latent } : {}),
        disprove: 'a flannel backend other than vxlan, or a cluster of this node alone',
        remediation: remediation.map((r) =>
          r === RESTART ? { ...r, run: restartFlannel(node.hostname ?? node.id, k3sArgs) } : r,
        ),
      });
    }

    /** It is up: so must be what it sends by, which its own flags do not show [V83]. */
    function below(name: string, { device, fact }: Shown): void {
      const vxlan = device.vxlan;
      if (vxlan === undefined)
        return void doubt(`${name} is up, but which device it sends by was not collected`, ['ip.link']);
      if (vxlan.dev === undefined) return void proof.push(cite(fact, device));
      const lower = shown(vxlan.dev);
      const [at] = lower;
      if (at === undefined)
        return void doubt(`${name} sends by ${vxlan.dev}, which is not among the node’s devices`, [
          'ip.link',
          'ip.addr',
        ]);
      const dead = lower.filter((s) => !isUp(s.device) || !hasCarrier(s.device));
      if (dead.length === 0) return void proof.push(cite(fact, device), cite(at.fact, at.device));
      if (dead.length < lower.length)
        return void doubt(`${vxlan.dev}, which ${name} sends by, went up or down while it was collected`, [
          'ip.link',
          'ip.addr',
        ]);
      if (!used.has(name) && !(known?.type === 'vxlan' && alive))
        return void doubt(
          `${vxlan.dev}, which ${name} sends by, is dead, but nothing shows that flannel still uses ${name}`,
          ['flannel.net-conf', 'ip.route4'],
        );
      const state = isUp(at.device) ? 'has no carrier' : 'is down';
      const remotes = all.remotes(name);
      const around = routes4.missing || remotes === null ? null : otherWay(routes4, all, remotes, vxlan.dev);
      // a node that knows of no other one loses nothing yet
      const alone = !used.has(name) && remotes?.length === 0;
      const lowerWord = shellWord(vxlan.dev);
      found.push({
        key: `${name} below`,
        severity: alone ? 'medium' : around === null ? 'critical' : 'high',
        confidence: around !== null ? 'possible' : routes4.missing || remotes === null ? 'likely' : 'proven',
        ...(alone ? { latent: true } : {}),
        nodes: [node.id],
        message: `${vxlan.dev} on ${node.id} ${state}, and ${name} sends by it: ${
          alone
            ? 'no route leads to another node’s pods yet, and none could work'
            : around === null
              ? 'no packet for pods of other nodes leaves, though the device and its routes look well'
              : `packets for pods of other nodes are lost unless ${around.dev} reaches those nodes too`
        }`,
        cites: [
          cite(at.fact, at.device),
          cite(fact, device),
          ...(around === null || routes4.missing ? [] : [cite(routes4, around)]),
        ],
        disprove: `a later collection in which ${vxlan.dev} is up and has a carrier`,
        remediation: isUp(at.device)
          ? [
              {
                step: `See to the wire of ${vxlan.dev}: cable, switch port, the virtual machine’s network card, or the members of the bond.`,
                run: `ip -s link show dev ${lowerWord}`,
                verify: `ip link show dev ${lowerWord}   # LOWER_UP among the flags`,
                undo: 'none needed: nothing was changed',
              },
            ]
          : [
              {
                step: `Set ${vxlan.dev} up and have its routes made again (netplan apply, nmcli or ifup): the kernel dropped them with it.`,
                run: `ip link set dev ${lowerWord} up`,
                verify: `ip link show dev ${lowerWord}; ip route show dev ${lowerWord}`,
                undo: `ip link set dev ${lowerWord} down`,
              },
            ],
      });
    }
  },
});
