import { rule } from '../../../rules/forwarding/overlay-traffic-masqueraded.ts';
import { testRule } from '../../support/rule-table.ts';
import { kubeNode } from '../services/nodes.ts';
import { DOCKER_SAVE, dockerNode, legacyUnknown, NO_NFT, podNode, podNodeWithout } from './nodes.ts';

/** These rules of POSTROUTING in front of flannel's. */
const first =
  (...rules: string[]) =>
  (t: string): string =>
    t.replace(/(:FLANNEL-POSTRTG - \[0:0\]\n)/, `$1${rules.map((r) => `[0:0] ${r}\n`).join('')}`);
const AGENT = first('-A POSTROUTING -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT', '-A IP-MASQ-AGENT -j MASQUERADE');

testRule(rule, {
  finds: {
    'a rule for everything (V79)': {
      nodes: { a: podNode(first('-A POSTROUTING -j MASQUERADE')) },
      expect: [
        {
          key: '-A POSTROUTING -j MASQUERADE in nat/POSTROUTING',
          severity: 'medium',
          confidence: 'proven',
          nodes: ['a'],
          message: /10\.244\.1\.10 -> 10\.244\.2\.10 tcp, out flannel\.1\) leave with another source address/,
          cites: ['-A POSTROUTING -j MASQUERADE', '10.244.2.0/24 via 10.244.2.0 dev flannel.1'],
        },
      ],
    },
    'a mark of somebody’s that means translation to kube-proxy': {
      nodes: {
        a: kubeNode(1, (t) =>
          t.replace(
            ':KUBE-PROXY-CANARY - [0:0]\nCOMMIT',
            ':KUBE-PROXY-CANARY - [0:0]\n[0:0] -A PREROUTING -i cni0 -j MARK --set-xmark 0x4000/0xffffffff\nCOMMIT',
          ),
        ),
      },
      expect: [
        {
          severity: 'medium',
          message:
            /KUBE-POSTROUTING, for the mark that "-A PREROUTING -i cni0 -j MARK --set-xmark 0x4000\/0xffffffff" in mangle\/PREROUTING gives them$/,
          cites: [
            '-A KUBE-POSTROUTING ',
            '-A PREROUTING -i cni0 -j MARK',
            '10.244.2.0/24 via 10.244.2.0 dev flannel.1',
          ],
        },
      ],
    },
    'dockerd with ip-masq over the pods’ bridge (V76)': {
      nodes: { a: podNode(first('-A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE')) },
      expect: [{ severity: 'medium', cites: ['! -o cni0 -j MASQUERADE', '10.244.2.0/24 via'] }],
    },
    'SNAT of udp alone': {
      nodes: { a: podNode(first('-A POSTROUTING -p udp -j SNAT --to-source 192.168.50.11')) },
      expect: [{ message: /udp, out flannel/, cites: ['-p udp -j SNAT', '10.244.2.0/24 via'] }],
    },
    'flannel translates a pod of another lease (V32)': {
      nodes: { a: podNode((t) => t.replaceAll('10.244.1.0/24', '10.244.9.0/24')) },
      expect: [{ cites: ['-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4', '10.244.2.0/24 via'] }],
    },
    'ip-masq-agent was told so: information': {
      nodes: { a: podNode((t) => AGENT(t).replace(':FLANNEL-POSTRTG', ':IP-MASQ-AGENT - [0:0]\n:FLANNEL-POSTRTG')) },
      expect: [
        { severity: 'info', message: /as ip-masq-agent was told/, cites: ['IP-MASQ-AGENT -j MASQ', '10.244.2.0/24'] },
      ],
    },
  },
  passes: {
    'flannel’s own rules': { nodes: { a: podNode() } },
    'what leaves the cluster alone': {
      nodes: { a: podNode(first('-A POSTROUTING -s 10.244.1.0/24 ! -d 10.244.0.0/16 -j MASQUERADE')) },
    },
    'by the node’s device alone': { nodes: { a: podNode(first('-A POSTROUTING -o eth0 -j MASQUERADE')) } },
    'what kube-proxy marked': {
      nodes: { a: podNode(first('-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE')) },
    },
  },
  notApplicable: { 'docker alone': { nodes: { a: dockerNode(DOCKER_SAVE) } } },
  unknown: {
    'a rule sends DNS elsewhere, which is no packet to a pod any more': {
      nodes: {
        a: podNode((t) =>
          t.replace(
            /(:FLANNEL-POSTRTG - \[0:0\]\n)/,
            '$1[0:0] -A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination 192.168.50.222:53\n',
          ),
        ),
      },
      because: /a rule sends udp somewhere else/,
    },
    'the other backend was not collected': {
      nodes: { a: legacyUnknown('nat\nfilter\n') },
      because: /whether its pods to those of other nodes keep their address/,
    },
    'native nft tables were not collected': { nodes: { a: podNodeWithout('host/fw/nft.json') } },
  },
});

// the remedy’s own rule makes it pass
testRule(rule, {
  finds: {},
  passes: {
    exempt: {
      nodes: {
        a: podNode(
          first(
            '-A POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -m mark ! --mark 0x4000/0x4000 -j RETURN',
            '-A POSTROUTING -j MASQUERADE',
          ),
          { 'host/fw/nft.json': NO_NFT },
        ),
      },
    },
  },
});
