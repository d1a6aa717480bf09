import { shellWord } from '../../src/core/shell.ts';
import { isNonEmpty } from '../../src/core/span.ts';
import { attachedBridges } from '../../src/derive/devices.ts';
import { ingressDevices } from '../../src/derive/pods.ts';
import { sysctl } from '../../src/derive/settings.ts';
import type { Fact } from '../../src/facts/index.ts';
import type { Finding, LineCite } from '../../src/rule/index.ts';
import { cite, defineNodeRule, findings, notApplicable, pass, unknown } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

export const rule = defineNodeRule({
  id: 'interface-forwarding-disabled',
  title: {
    bad: 'Forwarding is off on one device although the node forwards',
    good: 'Every device that container traffic arrives on forwards',
  },
  severity: 'high',
  explanation:
    'The flag of the device that a packet arrives on decides, so a zero on flannel.1 kills only incoming overlay traffic while pings started on the node still leave. ' +
    'Hardening scripts that set conf.all.forwarding and then single devices cause it.',
  remediation: [
    {
      step: 'Turn forwarding on for the device (a dot in its name is written as a slash).',
      run: 'sysctl -w net.ipv4.conf.<dev>.forwarding=1',
      verify: 'sysctl net.ipv4.conf.<dev>.forwarding',
      undo: 'sysctl -w net.ipv4.conf.<dev>.forwarding=0',
    },
    {
      step: 'Persist it in sysctl.d plus a udev or networkd rule, because the device appears later than sysctl.d is applied.',
    },
  ],
  references: [REF.ipSysctl],
  needs: ['sysctl', 'addresses'],
  wants: ['links', 'bridges', 'sysfs', 'dockerNetworks', 'routes4', 'flannelEnv'],
  explains: ['trace-pod-to-pod', 'trace-pod-to-service-and-external'],
  evaluate({ node, facts, source }) {
    const ingress = ingressDevices(source);
    if (!ingress.some((i) => !i.what.startsWith('uplink'))) {
      const { doubt } = attachedBridges(source);
      if (doubt !== null) return unknown(node.id, doubt, ['ip.addr', 'bridge.brctl-show']);
      return notApplicable(
        'no container bridge with a port and an IPv4 address, no overlay device and no pod’s device on this node',
      );
    }
    const off: Finding[] = [];
    const on: LineCite[] = [];
    const open: string[] = [];
    for (const { dev, what, fact, span } of ingress) {
      const flag = sysctl(facts.sysctl, `net/ipv4/conf/${dev}/forwarding`);
      if (flag === undefined) open.push(dev);
      else if (flag.value !== '0') on.push(cite(facts.sysctl, flag));
      else {
        const key = `net.ipv4.conf.${dev.replaceAll('.', '/')}.forwarding`;
        off.push({
          key: dev,
          severity: 'high',
          confidence: 'proven',
          nodes: [node.id],
          message: `Forwarding is off on ${dev} (${what}) of ${node.id} although the node forwards: packets that arrive on ${dev} for containers or other nodes are dropped`,
          cites: [cite(facts.sysctl, flag), cite(fact as Fact<'addresses'>, span)],
          remediation: [
            {
              step: `Turn forwarding on for ${dev}.`,
              run: `sysctl -w ${shellWord(`${key}=1`)}`,
              verify: `sysctl ${shellWord(key)}`,
              undo: `sysctl -w ${shellWord(`${key}=0`)}`,
            },
            {
              step: 'Persist it in sysctl.d plus a udev or networkd rule, because the device appears later than sysctl.d is applied.',
            },
          ],
          disprove: `no routed traffic ever arrives on ${dev}`,
        });
      }
    }
    const global = sysctl(facts.sysctl, 'net/ipv4/ip_forward');
    if (global?.value === '0' && on.length === 0)
      return notApplicable('ip_forward is 0: ip-forward-disabled speaks', [cite(facts.sysctl, global)]);
    // writing ip_forward resets every device, so the one switch says nothing of the devices
    const gaps = open.map((dev) => ({
      nodes: [node.id] as const,
      because: `conf.${dev}.forwarding was not collected`,
      evidence: ['sys.sysctl'],
    }));
    if (isNonEmpty(off)) return findings(off, gaps);
    const [firstOn, ...rest] = on;
    if (open.length > 0 || firstOn === undefined) {
      return unknown(node.id, `per-device forwarding flags are missing for ${open.join(', ') || 'every device'}`, [
        'sys.sysctl',
      ]);
    }
    return pass(firstOn, ...rest);
  },
});
