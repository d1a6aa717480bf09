import { parsePrefix, samePrefix } from '../core/address.ts';
import { shellWord } from '../core/shell.ts';
import { NOTHING_TO_UNDO, restartFlannel, withArgument } from './flannel-remedy.ts';
import type { Step } from './step.ts';

/** An address of a device that other nodes may be reached by; `network`: with the length of its network. */
export interface Nic {
  readonly dev: string;
  readonly address: string;
  readonly network: string;
}

/** A node that is the same as another one to flannel. */
interface Twin {
  readonly node: string;
  readonly machineIdSha256: string | null;
  readonly nics: readonly Nic[];
}

/** For all but one of them. */
export function otherMac(dev: string, nodes: readonly Twin[]): readonly Step[] {
  const [, other = nodes[0]] = nodes;
  const word = shellWord(dev);
  const ids = new Set(nodes.map((n) => n.machineIdSha256));
  const clone = nodes.length > 1 && ids.size === 1 && !ids.has(null);
  return [
    ...(clone
      ? [
          {
            step: `They have one machine-id, of which systemd makes MACs: give ${other?.node} its own, and boot it.`,
            run: 'rm /etc/machine-id; systemd-machine-id-setup; reboot',
            verify: 'cat /etc/machine-id   # another one on every node',
            undo: 'none needed: a machine-id has to be unique',
            risk: 'The node boots; logs of before are under the old id.',
          },
        ]
      : []),
    {
      step: `Remove ${dev} on ${other?.node} and restart flannel there: it makes the device with another MAC and announces that.`,
      run: `ip link del ${word}; ${restartFlannel(other?.node ?? '<node>')}`,
      verify: `ip link show ${word}   # another MAC on each node`,
      undo: NOTHING_TO_UNDO,
      risk: 'The node is without its overlay until flannel has started again: see that the second command finds it.',
    },
  ];
}

/** The device that all of them have on one network, with an address each. */
export function otherDevice(address: string, nodes: readonly Twin[]): readonly Step[] {
  const [first, ...rest] = nodes;
  const nic = first?.nics.find((mine) => {
    const net = parsePrefix(mine.network);
    const theirs = rest.map((n) =>
      n.nics.find((o) => {
        const other = parsePrefix(o.network);
        return o.dev === mine.dev && net !== null && other !== null && samePrefix(net, other);
      }),
    );
    const addresses = new Set([mine, ...theirs].map((n) => n?.address));
    return rest.length > 0 && mine.address !== address && !addresses.has(undefined) && addresses.size === nodes.length;
  });
  const iface = nic?.dev ?? '<device>';
  const hint = nic === undefined ? '' : `: ${nic.dev} has another address on each of these nodes`;
  return [
    {
      step: `Tell flannel which device the nodes reach each other by${hint} (k3s: --flannel-iface=${iface}; without Kubernetes: --iface=${iface} of flanneld).`,
      ...withArgument(`--iface=${iface}`),
      risk: 'Overlay traffic stops for the seconds that the devices are made anew.',
    },
  ];
}
