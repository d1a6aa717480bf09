import { overlayNode } from '../../support/overlay-node.ts';
import type { NodeFiles } from '../../support/rule-table.ts';

/** What `ip addr` prints of a second card and of a VPN. */
const OTHER_DEVICES = `6: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:02:01 brd ff:ff:ff:ff:ff:ff
    inet 10.98.0.5/24 scope global eth1
       valid_lft forever preferred_lft forever
7: vpn0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN group default qlen 1000
    link/none 
    inet 10.8.0.2/32 scope global vpn0
       valid_lft forever preferred_lft forever
`;

const textOf = (files: NodeFiles['files'], path: string): string => {
  const text = files[path];
  return typeof text === 'string' ? text : '';
};

/** A flannel node of two with a second card and a VPN: `rules` stand between those of local and main, `routes` beside those of main. */
export function routingNode(o: {
  readonly rules?: readonly string[];
  readonly routes?: readonly string[];
  /** What the routes of the node become. */
  readonly edit?: (routes: string) => string;
  readonly files?: NodeFiles['files'];
}): NodeFiles {
  const { files } = overlayNode({ n: 1, peers: [2] });
  const edit = o.edit ?? ((text: string) => text);
  const local = textOf(files, 'host/ip/route4.txt');
  const own = [
    'unicast 10.98.0.0/24 dev eth1 proto kernel scope link src 10.98.0.5 ',
    ...(o.routes ?? []),
    'local 10.98.0.5 dev eth1 table local proto kernel scope host src 10.98.0.5 ',
  ];
  return {
    files: {
      ...files,
      'host/ip/addr.txt': `${textOf(files, 'host/ip/addr.txt')}${OTHER_DEVICES}`,
      'host/ip/route4.txt': edit(`${local}${own.join('\n')}\n`),
      'host/ip/rule4.txt': `${['0:\tfrom all lookup local', ...(o.rules ?? []), '32766:\tfrom all lookup main', '32767:\tfrom all lookup default'].join('\n')}\n`,
      ...o.files,
    },
  };
}
