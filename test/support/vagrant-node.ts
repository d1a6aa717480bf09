import { overlayNode } from './overlay-node.ts';
import type { NodeFiles } from './rule-table.ts';

/** Every text of a node through one function. */
export const edited = (node: NodeFiles, edit: (text: string, path: string) => string): NodeFiles => ({
  ...node,
  files: Object.fromEntries(
    Object.entries(node.files).map(([path, text]) => [path, typeof text === 'string' ? edit(text, path) : text]),
  ),
});

/**
 * A virtual machine as Vagrant makes it: eth0 is 10.0.2.15 behind a NAT of its own, on every machine, and eth1 is on the network of the
 * cluster. flannel took the first device, or the second.
 */
export function vagrantNode(n: number, peers: readonly number[], flannelOn: 'eth0' | 'eth1'): NodeFiles {
  const nat = (text: string) => text.replaceAll(/192\.168\.50\.1\d/g, '10.0.2.15');
  const lan = (text: string) => text.replaceAll('192.168.50.1', '192.168.56.1');
  const under = flannelOn === 'eth0' ? nat : lan;
  const second = `8: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 08:00:27:00:07:0${n} brd ff:ff:ff:ff:ff:ff
`;
  const address = `192.168.56.${10 + n}`;
  return edited(overlayNode({ n, peers }), (text, path) => {
    switch (path) {
      case 'host/ip/addr.txt':
        return `${nat(text)}${second}    inet ${address}/24 scope global eth1
       valid_lft forever preferred_lft forever
`;
      case 'host/ip/link.txt':
        return under(text).replace(' dev eth0 srcport', ` dev ${flannelOn} srcport`) + second;
      case 'host/ip/route4.txt':
        return `${nat(text.replace('192.168.50.100', '10.0.2.2')).replaceAll(/192\.168\.50\.(0|255)/g, '10.0.2.$1')}unicast 192.168.56.0/24 dev eth1 proto kernel scope link src ${address} 
local ${address} dev eth1 table local proto kernel scope host src ${address} 
`;
      case 'host/ip/neigh.txt':
        // VirtualBox shows every machine this router
        return text.replace(
          '192.168.50.100 dev eth0 lladdr 02:00:00:00:00:64',
          '10.0.2.2 dev eth0 lladdr 52:54:00:12:35:02',
        );
      default:
        return under(text);
    }
  });
}
