import { formatPrefix } from '../../src/core/address.ts';
import { type FlannelLease, flannelLease } from '../../src/derive/flannel.ts';
import { otherNetwork } from '../../src/derive/flannel-backend.ts';
import { restartFlannel } from '../../src/derive/flannel-remedy.ts';
import { outward, POD_KINDS, type PodNetwork, podFlows, podNetworks } from '../../src/derive/pods.ts';
import { flag } from '../../src/derive/settings.ts';
import type { Fact, IptChain } from '../../src/facts/index.ts';
import { askEgress, askForward, HOOK_WANTS, hookNode, RULESET_KINDS, routesThrough } from '../../src/net/index.ts';
import type { Cite } from '../../src/rule/index.ts';
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

const SAVED = ['iptables', 'iptablesNft', 'iptablesLegacy'] as const;
type Saved = Fact<(typeof SAVED)[number]>;

export const rule = defineNodeRule({
  id: 'flannel-rules-missing',
  title: {
    bad: 'flanneld runs, but none of its firewall rules is there',
    good: 'flannel’s firewall rules are there',
  },
  severity: 'critical',
  explanation:
    'flanneld accepts the pods’ packets in FORWARD and translates what leaves for the outside, and writes both anew every few seconds. Where neither is there it cannot write: somebody flushed the tables and it hangs, ' +
    'waits for the lock of xtables, or has no working iptables. Behind a policy DROP pods then reach neither those of other nodes nor the outside.',
  remediation: [
    {
      step: 'Read in the log of flanneld why it does not write its rules (“Failed to ensure iptables rules”, “xtables lock”), mend that, and restart it on that node.',
      run: restartFlannel('<node>'),
      verify: 'iptables -S FORWARD | grep -i flannel; iptables -t nat -S POSTROUTING | grep -i flannel',
      undo: 'none needed: flanneld writes its rules from its configuration',
    },
  ],
  references: [REF.flannelTroubleshooting, REF.flannelConfiguration],
  needs: ['addresses', 'routes4'],
  needsAny: RULESET_KINDS,
  wants: [...HOOK_WANTS, ...POD_KINDS, 'flanneldArgs', 'k3sArgs', 'cniConf'],
  explains: [
    'forward-drops-pod-traffic',
    'forward-drops-replies',
    'egress-masquerade-missing',
    'trace-pod-to-pod',
    'trace-pod-to-service-and-external',
  ],
  evaluate({ node, wants, source }) {
    const { flanneldArgs, k3sArgs, nftJson } = wants;
    const other = otherNetwork(source);
    if (other !== null)
      return notApplicable(`${other.type} routes the pods of this node, not flannel`, [cite(other.fact, other.span)]);
    const lease = flannelLease(source);
    const running = flanneldArgs.missing ? (k3sArgs.missing ? null : k3sArgs) : flanneldArgs;
    const off = k3sArgs.missing ? undefined : flag(k3sArgs.value, 'flannel-backend');
    if (lease?.network == null || running === null || (flanneldArgs.missing && off?.value === 'none'))
      return notApplicable('no flanneld was seen on this node whose rules they would be');
    const keepsForward = flanneldArgs.missing || flag(flanneldArgs.value, 'iptables-forward-rules')?.value !== 'false';
    if (!keepsForward || lease.ipMasq?.value !== true)
      return notApplicable(
        'flanneld is told to write only some of its rules, or none: what drops packets then is not its doing',
        [cite(lease.fact, lease.ipMasq ?? { line: 1 })],
      );
    if (!nftJson.missing && nftJson.value.rules.some((r) => r.table === 'flannel-ipv4'))
      return pass(cite(nftJson, { line: 1 }));
    const rulesets = SAVED.flatMap((kind): Saved[] => {
      const fact = source.get(kind);
      return fact.missing ? [] : [fact];
    });
    for (const fact of rulesets) {
      const line = ruleOf(fact, lease);
      if (line !== null) return pass(cite(fact, { line }));
    }
    const [shown] = rulesets;
    if (shown === undefined || !isClosed(shown) || !rulesets.every((fact) => fact.closed))
      return unknown(node.id, 'whether flannel’s rules are there: the rulesets were not collected whole', [
        'fw.iptables-save',
      ]);
    const net = podNetworks(source).find((n) => n.clustered);
    if (net === undefined) return notApplicable('no bridge of pods on this node: nobody needs the rules yet');
    const lost = lostBy(net);
    if (lost === null)
      return notApplicable('flannel’s rules are not there, but not both of FORWARD and of egress fail for it', [
        cite(lease.fact, lease.network),
      ]);
    const [process] = running.value.processes;
    return findings([
      {
        key: 'none',
        severity: 'critical',
        confidence: net.live ? 'proven' : 'likely',
        nodes: [node.id],
        about: [net.bridge.name],
        message: `flanneld runs on ${node.id}, but none of the rules that it keeps in FORWARD and POSTROUTING is there: pods on ${net.bridge.name} reach neither those of other nodes nor the outside`,
        cites: [
          absent(shown, `a rule of flannel for ${formatPrefix(lease.network.prefix)}`),
          ...lost,
          cite(lease.fact, lease.ipMasq ?? lease.network),
          ...(process?.argv[0] === undefined ? [] : [cite(running, { line: process.argv[0].line })]),
        ],
        disprove: 'flanneld had started a few seconds before the collection',
        remediation: [
          {
            step: 'Read in the log of flanneld why it does not write its rules (“Failed to ensure iptables rules”, “xtables lock”), mend that, and restart it on that node.',
            run: restartFlannel(node.hostname ?? node.id, k3sArgs),
            verify: 'iptables -S FORWARD | grep -i flannel; iptables -t nat -S POSTROUTING | grep -i flannel',
            undo: 'none needed: flanneld writes its rules from its configuration',
          },
        ],
      },
    ]);

    /** What drops packets between pods of two nodes, where nothing translates those to the outside either; null: one of both is well, or not known. */
    function lostBy(pods: PodNetwork): readonly Cite[] | null {
      const host = hookNode(source);
      const flows = podFlows(source, (p) => routesThrough(host, outward(p)).map((r) => r.dev));
      const [out] = routesThrough(host, outward(pods));
      const inner = flows.filter((f) => f.net.bridge.name === pods.bridge.name && f.severity === 'critical');
      const drops = inner.map((f) => askForward(host, { ...f, proto: 'tcp', dport: 443 }));
      const [decider] = drops.find((a) => a.verdict === 'drop')?.deciders ?? [];
      if (out === undefined || decider === undefined) return null;
      const egress = askEgress(host, { ...outward(pods), oif: out.dev }, out.via);
      return egress.verdict === 'none' ? [cite(decider.fact, decider)] : null;
    }
  },
});

/** Line of a rule that flannel writes, or would if it were older: by its comment, its chain, or the network. */
function ruleOf({ value }: Saved, { network }: FlannelLease): number | null {
  const range = network === null ? '' : formatPrefix(network.prefix);
  const is = (text: string) => /flanneld (forward|masq)|-j FLANNEL-/.test(text) || text.includes(` ${range} `);
  const chains = [
    value.tables.get('filter')?.chains.get('FORWARD'),
    value.tables.get('nat')?.chains.get('POSTROUTING'),
  ];
  for (const chain of chains) {
    const at = chain === undefined ? -1 : chain.texts().findIndex(is);
    if (chain !== undefined && at >= 0) return lineOf(chain, at);
  }
  return null;
}

const lineOf = (chain: IptChain, at: number): number => chain.rule(at).line;
