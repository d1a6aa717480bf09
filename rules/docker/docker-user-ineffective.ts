import { isNonEmpty, type NonEmpty } from '../../src/core/span.ts';
import { iptablesOf } from '../../src/derive/accept-range.ts';
import { DOCKER_DAEMON_KINDS, writesRules } from '../../src/derive/docker-daemon.ts';
import { publishedPorts } from '../../src/derive/docker-networks.ts';
import {
  BRIDGE,
  byOriginalPort,
  type HostPortRule,
  hostPortRules,
  isGuarded,
} from '../../src/derive/docker-user-ports.ts';
import { OUTSIDE } from '../../src/derive/pods.ts';
import { reachedInIptables } from '../../src/derive/reachable.ts';
import type { Fact, FactKind, IptChain, IptRule, MissingFact } from '../../src/facts/index.ts';
import { HOOK_KINDS, hookNode, RULESET_KINDS, routeTo } from '../../src/net/index.ts';
import type { Cite, Finding, NodeVerdict, Remediation, Undecided } from '../../src/rule/index.ts';
import { absent, cite, defineNodeRule, findings, isClosed, notApplicable } from '../../src/rule/index.ts';
import { REF } from '../../src/rule/references.ts';

const MOST_CITED = 3;

/** In front of everything: what stands behind an accept is never asked. */
const lead = (iptables: string): Remediation => ({
  step: 'Lead FORWARD to the chain again, in front of everything else; then find out who wrote FORWARD and give it this rule as well.',
  run: `${iptables} -I FORWARD -j DOCKER-USER`,
  verify: `${iptables} -S FORWARD | sed -n 2p   # -A FORWARD -j DOCKER-USER`,
  undo: `${iptables} -D FORWARD -j DOCKER-USER`,
  risk: 'What the rules in DOCKER-USER drop is dropped from then on.',
});

export const rule = defineNodeRule({
  id: 'docker-user-ineffective',
  title: {
    bad: 'DOCKER-USER holds rules that no forwarded packet comes to',
    good: 'FORWARD leads to the rules in DOCKER-USER',
  },
  severity: 'high',
  explanation:
    'A chain does nothing until something jumps to it. A firewall tool that wrote FORWARD anew, a saved ruleset that knows the chain but not the jump, or dockerd restarted with live-restore after a flush leaves DOCKER-USER behind without its jump; a rule in front that accepts everything has the same effect, and so has the RETURN that dockerd puts at the end: what is appended stands behind it. A rule that names a published port as the host has it meets no packet either: it has the container’s port by then. ' +
    'Published ports are then open to whomever those rules keep out.',
  remediation: [lead('iptables')],
  references: [REF.dockerFirewall],
  needs: [],
  needsAny: RULESET_KINDS,
  wants: [...HOOK_KINDS, 'dockerContainers', ...DOCKER_DAEMON_KINDS],
  evaluate({ node, wants, source }): NodeVerdict {
    const { dockerdArgs, nftJson } = wants;
    if (dockerdArgs.missing && dockerdArgs.lookedFor) return notApplicable('dockerd does not run on this node');
    const writes = writesRules(source);
    if (writes.answer === 'no')
      return notApplicable('dockerd is told to write no rules (iptables=false)', [cite(writes.fact, writes.span)]);
    const found: Finding[] = [];
    const passed: Cite[] = [];
    const open: Undecided[] = [];
    const { rulesets, gaps } = hookNode(source).host.rules(4);
    for (const { backend, fact, ruleset } of rulesets) {
      const table = ruleset.tables.get('filter');
      const chain = table?.chains.get('DOCKER-USER');
      if (table === undefined || chain === undefined) continue;
      const own = chain.rules().filter((r) => r.target !== undefined && !isReturn(r.text));
      if (!isNonEmpty(own)) continue;
      const [jump, second] = reachedInIptables(fact, table, 'FORWARD', /^DOCKER-USER$/);
      const forward = table.chains.get('FORWARD');
      const { ports } = publishedPorts(source);
      const which =
        ports.length === 0 ? '' : `; published are ${ports.slice(0, 5).join(', ')}${ports.length > 5 ? ' …' : ''}`;
      if (jump !== undefined) {
        const before = second === undefined ? forward : undefined;
        const lost = passedBy(chain, before, jump.line, takes);
        const astrayTo = ports.length === 0 ? [] : passedBy(chain, before, jump.line, takesToBridge);
        if (isNonEmpty(lost))
          found.push(behind(node.id, backend, fact, chain, lost, { exposed: ports.length > 0, which }));
        else if (isNonEmpty(astrayTo)) found.push(aroundTo(node.id, backend, fact, astrayTo[0], which));
        const out = own.filter(keepsOut);
        const [astray] = hostPortRules(ruleset, out, containerPorts(wants.dockerContainers));
        if (astray !== undefined)
          found.push(
            byHostPort(node.id, backend, fact, astray, isGuarded(astray, out), () => {
              const device = routeTo(hookNode(source), OUTSIDE)?.dev;
              return (
                device !== undefined &&
                device === astray.from &&
                !wants.dockerContainers.missing &&
                isClosed(wants.dockerContainers)
              );
            }),
          );
        else if (!isNonEmpty(lost) && !isNonEmpty(astrayTo)) passed.push(cite(fact, { line: jump.line }));
        continue;
      }
      if (!isClosed(fact)) {
        const because = `whether FORWARD leads to DOCKER-USER: ${fact.path} was not collected whole`;
        open.push({ nodes: [node.id], because, evidence: [fact.evidence] });
        continue;
      }
      found.push({
        key: backend,
        severity: own.some(keepsOut) && ports.length > 0 ? 'high' : 'medium',
        confidence: 'proven',
        nodes: [node.id],
        message: `No forwarded packet of ${node.id} comes to the ${own.length} rule${own.length === 1 ? '' : 's'} in DOCKER-USER, "${own[0].text}" among them: FORWARD does not lead there${which}`,
        cites: [
          cite(fact, { line: chain.line }),
          ...own.slice(0, MOST_CITED).map((r) => cite(fact, { line: r.line })),
          absent(fact, 'a jump from FORWARD to DOCKER-USER that packets come to'),
          ...(forward === undefined ? [] : [cite(fact, { line: forward.line })]),
        ],
        remediation: [lead(iptablesOf(fact.evidence))],
        disprove: 'a jump to DOCKER-USER in front of every rule of FORWARD that accepts all',
      });
    }
    if (isNonEmpty(found)) return findings(found, open);
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    if (isNonEmpty(passed)) return { kind: 'pass', cites: passed };
    const docker = rulesets.some((r) => r.ruleset.tables.get('filter')?.chains.has('DOCKER') === true);
    if (dockerdArgs.missing && !docker) return notApplicable('no sign of Docker on this node');
    // no rule of one's own was seen: it may stand where nobody looked
    const nft = rulesets.find((r) => r.backend === 'nft')?.ruleset;
    // iptables-save -t nat
    const partial = nft !== undefined && nft.tables.size > 0 && !nft.tables.has('filter');
    for (const { because, evidence } of gaps)
      if (partial || !evidence.includes('fw.nft-json'))
        open.push({ nodes: [node.id], because: `whether DOCKER-USER holds rules: ${because}`, evidence });
    if ((nft === undefined || partial) && !nftJson.missing && nftJson.value.rules.some(inDockerUser)) {
      const because = 'whether FORWARD leads to DOCKER-USER: it was collected only as nft prints it';
      open.push({ nodes: [node.id], because, evidence: ['fw.iptables-nft-save'] });
    }
    const blank = docker ? undefined : rulesets.find((r) => r.ruleset.tables.size === 0);
    if (node.format === 'loose-files' && blank !== undefined) {
      const because = `whether DOCKER-USER holds rules: ${blank.fact.path} is empty, which a command that failed leaves too`;
      open.push({ nodes: [node.id], because, evidence: [blank.fact.evidence] });
    }
    if (isNonEmpty(open)) return { kind: 'unknown', unknown: open };
    return notApplicable('no rule of one’s own in DOCKER-USER');
  },
});

const keepsOut = ({ target }: IptRule) => target !== undefined && !/^(ACCEPT|RETURN|LOG|NFLOG|MARK)$/.test(target.name);

/** Ports on which containers are known to answer. */
const containerPorts = (fact: Fact<'dockerContainers'> | MissingFact<'dockerContainers'>): ReadonlySet<number> =>
  new Set(fact.missing ? [] : fact.value.containers.flatMap((c) => c.ports.map((p) => p.containerPort)));

function byHostPort(
  node: string,
  backend: string,
  fact: Fact<FactKind>,
  astray: HostPortRule,
  guarded: boolean,
  isSure: () => boolean,
): Finding {
  const { rule, turned, hostPort, containerPort } = astray;
  const iptables = iptablesOf(fact.evidence);
  const own = rule.text.replace(/^-A /, '');
  const instead = byOriginalPort(astray);
  return {
    key: `${backend} port`,
    severity: guarded ? 'medium' : 'high',
    confidence: isSure() ? 'proven' : 'likely',
    nodes: [node],
    message: `"${rule.text}" keeps nobody from published port ${hostPort} of ${node}: in FORWARD a packet for it has the container’s port ${containerPort} already`,
    cites: [cite(fact, { line: rule.line }), cite(fact, { line: turned.line })],
    remediation: [
      instead === null
        ? {
            step: 'Name the ports that the containers have, or those that packets came for, one rule each: -m conntrack --ctorigdstport PORT --ctdir ORIGINAL.',
          }
        : {
            step: 'Ask for the port that the packet came for, which conntrack remembers.',
            run: `${iptables} -I DOCKER-USER ${instead} && ${iptables} -D ${own}`,
            verify: `${iptables} -S DOCKER-USER | grep ctorigdstport`,
            undo: `${iptables} -I ${own} && ${iptables} -D DOCKER-USER ${instead}`,
            risk: 'What the rule drops is dropped from then on. Save the rules where they are loaded from.',
          },
    ],
    disprove: 'the rule is for a port that something unpublished in a container has',
  };
}

/** A rule that packets should come to, and the one in front that takes all of them. */
interface PassedBy {
  readonly rule: IptRule;
  readonly by: IptRule;
}

/** Rules of one's own that keep somebody out, but whose packets have all been let through by then: in FORWARD, or in the chain itself. */
function passedBy(
  chain: IptChain,
  forward: IptChain | undefined,
  jump: number,
  takesAll: (front: IptRule, rule: IptRule) => boolean,
): readonly PassedBy[] {
  const rules = forward?.rules() ?? [];
  // where the jump stands in another chain, lines do not tell what is in front of it
  const here = rules.findIndex((r) => r.line === jump);
  const lets = rules.slice(0, Math.max(here, 0)).filter((r) => r.target?.name === 'ACCEPT');
  const found: PassedBy[] = [];
  for (const rule of chain.rules()) {
    const by = keepsOut(rule) ? lets.find((l) => takesAll(l, rule)) : undefined;
    if (by !== undefined) found.push({ rule, by });
    else if (/^(ACCEPT|RETURN)$/.test(rule.target?.name ?? '')) lets.push(rule);
  }
  return found;
}

const SELECTORS = ['source', 'destination', 'inDevice', 'protocol'] as const;

/** Is every packet of `rule` one of `front` as well? Only by selectors that say the same. */
function takes(
  front: IptRule,
  rule: IptRule,
  selectors: readonly ((typeof SELECTORS)[number] | 'outDevice')[] = [...SELECTORS, 'outDevice'],
): boolean {
  if (front.matches.some((m) => m.name !== 'comment') || front.unplaced !== undefined || front.fragment !== undefined)
    return false;
  return selectors.every((selector) => {
    const asked = front[selector];
    const own = rule[selector];
    return asked === undefined || (own !== undefined && own.value === asked.value && own.negated === asked.negated);
  });
}

/** Does FORWARD let every packet of `rule` that goes to a bridge of Docker's through before? */
const takesToBridge = (front: IptRule, rule: IptRule) =>
  front.chain === 'FORWARD' &&
  front.outDevice !== undefined &&
  !front.outDevice.negated &&
  BRIDGE.test(front.outDevice.value) &&
  rule.outDevice === undefined &&
  takes(front, rule, SELECTORS);

function aroundTo(node: string, backend: string, fact: Fact<FactKind>, { rule, by }: PassedBy, which: string): Finding {
  return {
    key: `${backend} around`,
    severity: 'medium',
    confidence: 'likely',
    nodes: [node],
    message: `"${rule.text}" in DOCKER-USER keeps nobody from containers on ${by.outDevice?.value} of ${node}: "${by.text}" in front of it lets them through${which}`,
    cites: [cite(fact, { line: rule.line }), cite(fact, { line: by.line })],
    remediation: [lead(iptablesOf(fact.evidence))],
    disprove:
      'no container on that bridge has a published port, or all are meant to be open to whom the rule in front lets through',
  };
}

function behind(
  node: string,
  backend: string,
  fact: Fact<FactKind>,
  chain: IptChain,
  lost: NonEmpty<PassedBy>,
  { exposed, which }: { readonly exposed: boolean; readonly which: string },
): Finding {
  const [{ rule: one, by }] = lost;
  const few = lost.slice(0, MOST_CITED);
  const iptables = iptablesOf(fact.evidence);
  const at = chain.rules().indexOf(by) + 1;
  const move = (place: string) => `${iptables} -D DOCKER-USER -j RETURN && ${iptables} -${place} -j RETURN`;
  return {
    key: `${backend} behind`,
    severity: exposed ? 'high' : 'medium',
    confidence: 'proven',
    nodes: [node],
    message: `No forwarded packet of ${node} comes to ${lost.length === 1 ? 'a rule' : `${lost.length} rules`} in DOCKER-USER, "${one.text}"${lost.length === 1 ? '' : ' among them'}: "${by.text}" in front lets them all through${which}`,
    cites: [
      cite(fact, { line: one.line }),
      cite(fact, { line: by.line }),
      ...few.slice(1).map((l) => cite(fact, { line: l.rule.line })),
    ],
    remediation: [
      by.text === '-A DOCKER-USER -j RETURN'
        ? {
            step: 'Let RETURN be the last rule; from then on insert rules (-I), because -A appends behind it.',
            run: move('A DOCKER-USER'),
            verify: `${iptables} -S DOCKER-USER   # RETURN is the last`,
            undo: move(`I DOCKER-USER ${at}`),
            risk: 'What the rules in DOCKER-USER drop is dropped from then on.',
          }
        : by.chain === 'FORWARD'
          ? lead(iptables)
          : { step: `Put the rules in front of "${by.text}": -I does that, -A appends behind it.` },
    ],
    disprove: 'another jump to these rules',
  };
}

/** What dockerd itself puts there. */
const isReturn = (text: string) => /^-A DOCKER-USER( -m comment --comment ("[^"]*"|\S+))? -j RETURN$/.test(text);

const inDockerUser = (r: { family: string; table: string; chain: string }) =>
  r.family === 'ip' && r.table === 'filter' && r.chain === 'DOCKER-USER';
