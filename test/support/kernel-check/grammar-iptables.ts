import { type Hook, type Matches, matches, type Table } from './grammar-matches.ts';
import { type Ground, someAddress, TCP_PORTS, UDP_PORTS } from './ground.ts';
import type { Step } from './plan.ts';
import type { Random } from './random.ts';

const HOOKS: Readonly<Record<Table, readonly Hook[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
};

/** Three addresses from this one on. */
function range(ip: string): string {
  const [a, b, c, d] = ip.split('.');
  return `${ip}-${a}.${b}.${c}.${Number(d) + 2}`;
}

function natTarget(r: Random, g: Ground, hook: Hook): { target: string; proto: Matches['proto'] } {
  const any = (target: string) => ({ target, proto: null });
  if (hook === 'POSTROUTING')
    return any(
      r.pick([
        'MASQUERADE',
        'MASQUERADE',
        'MASQUERADE --random-fully',
        `SNAT --to-source ${r.pick(g.own)}`,
        `SNAT --to-source ${r.pick([...g.own, ...g.addresses])}`,
        `SNAT --to-source ${r.pick(g.own)}:5000-6000`,
        `SNAT --to-source ${range(r.pick(g.own))}`,
        'MASQUERADE --to-ports 10000-20000',
        'ACCEPT',
        'RETURN',
      ]),
    );
  if (hook === 'INPUT') return any(r.pick([`SNAT --to-source ${r.pick(g.own)}`, 'ACCEPT', 'RETURN']));
  const to = r.pick([...g.addresses, ...g.addresses, ...g.own]);
  return r.pick([
    { target: `DNAT --to-destination ${to}:80`, proto: 'tcp' as const },
    { target: `DNAT --to-destination ${to}:80`, proto: 'tcp' as const },
    { target: `DNAT --to-destination ${to}:53`, proto: 'udp' as const },
    any(`DNAT --to-destination ${to}`),
    { target: 'REDIRECT --to-ports 80', proto: 'tcp' as const },
    any('REDIRECT'),
    { target: `DNAT --to-destination ${range(to)}:80`, proto: 'tcp' as const },
    { target: 'REDIRECT --to-ports 80-81', proto: 'tcp' as const },
    any(`DNAT --to-destination 127.0.0.1`),
    any('ACCEPT'),
    any('RETURN'),
    any(`NETMAP --to ${r.pick(g.subnets.filter((s) => s.endsWith('/24')))}`),
  ]);
}

function target(r: Random, g: Ground, table: Table, hook: Hook): { target: string; proto: Matches['proto'] } {
  const any = (t: string) => ({ target: t, proto: null });
  if (table === 'nat') return natTarget(r, g, hook);
  if (table === 'raw')
    return any(r.pick(['ACCEPT', 'DROP', 'CT --notrack', 'NOTRACK', 'TRACE', 'RETURN', 'CT --zone 5']));
  if (table === 'mangle') {
    const kind = r.weighted({ mark: 6, ct: 2, small: 3, end: 2 });
    if (kind === 'mark')
      return any(
        `MARK ${r.pick(['--set-xmark 0x4000/0x4000', '--set-mark 0x1', '--or-mark 0x10', '--and-mark 0xfffffffe', '--xor-mark 0x1', '--set-xmark 0x0/0x4000', '--set-mark 0xca6c'])}`,
      );
    if (kind === 'ct') return any(`CONNMARK ${r.pick(['--save-mark', '--restore-mark', '--set-xmark 0x1/0x1'])}`);
    if (kind === 'end') return any(r.pick(['ACCEPT', 'DROP', 'RETURN']));
    return r.pick([
      any(`TTL ${r.pick(['--ttl-set 64', '--ttl-inc 1', '--ttl-dec 1', '--ttl-set 1'])}`),
      any('DSCP --set-dscp 0x10'),
      any('TOS --set-tos 0x10'),
      ...(hook === 'FORWARD' || hook === 'POSTROUTING'
        ? [
            { target: 'TCPMSS --clamp-mss-to-pmtu', proto: 'tcp' as const },
            { target: 'TCPMSS --set-mss 500', proto: 'tcp' as const },
          ]
        : []),
    ]);
  }
  const kind = r.weighted({ accept: 6, drop: 3, reject: 1.5, back: 1.5, log: 1 });
  if (kind === 'accept') return any('ACCEPT');
  if (kind === 'drop') return any('DROP');
  if (kind === 'back') return any('RETURN');
  if (kind === 'log')
    return any(
      r.pick([
        'LOG --log-prefix "nc: "',
        'NFLOG --nflog-group 1',
        'CONNMARK --set-xmark 0x1/0x1',
        'AUDIT --type accept',
        'NFQUEUE --queue-num 7',
        'NFQUEUE --queue-num 7 --queue-bypass',
      ]),
    );
  if (table === 'security') return any('DROP');
  return r.pick([
    any(
      `REJECT --reject-with ${r.pick(['icmp-port-unreachable', 'icmp-host-prohibited', 'icmp-admin-prohibited', 'icmp-net-unreachable'])}`,
    ),
    { target: 'REJECT --reject-with tcp-reset', proto: 'tcp' as const },
  ]);
}

function ruleText(r: Random, g: Ground, table: Table, hook: Hook): string {
  const end = target(r, g, table, hook);
  const { text, proto } = matches(r, g, table, hook, end.proto);
  const withPorts = end.target.endsWith(':80') || end.target.includes(':53') || end.target.includes('--to-ports');
  const aimed =
    withPorts && !text.includes('dport') ? ` --dport ${r.pick(proto === 'udp' ? UDP_PORTS : TCP_PORTS)}` : '';
  const syn = end.target.startsWith('TCPMSS') && !text.includes('--syn') ? ' --tcp-flags SYN,RST SYN' : '';
  // what ends every packet needs something that it is about
  const narrow = text === '' ? `-s ${someAddress(r, g)}` : text;
  return `${narrow}${aimed}${syn} -j ${end.target}`;
}

const SETS = (r: Random, g: Ground): string => {
  const members = (from: readonly string[], set: string) => r.some(from, r.int(1, 3)).map((a) => `add ${set} ${a}`);
  const port = `${r.pick(g.addresses)},${r.pick(['tcp:80', 'udp:53', '80'])}`;
  return [
    'create nc-ip hash:ip',
    'create nc-net hash:net',
    'create nc-ip-port hash:ip,port',
    'create nc-list list:set',
    ...members(g.addresses, 'nc-ip'),
    ...members(g.subnets, 'nc-net'),
    ...(r.chance(0.4) ? [`add nc-net ${r.pick(g.addresses)} nomatch`] : []),
    `add nc-ip-port ${port}`,
    'add nc-list nc-ip',
    ...(r.chance(0.5) ? ['add nc-list nc-net'] : []),
  ].join('\n');
};

/** Rules as an administrator adds them: one step each; a chain of its own is one step with its rules. */
export function adminRules(r: Random, g: Ground, count: number, tool: string): Step[] {
  const at = g.node.name;
  const steps: Step[] = [];
  for (let i = 0; i < count; i++) {
    const table = r.weighted({ filter: 8, nat: 4, mangle: 2.5, raw: 1, security: 0.3 });
    const hook = table === 'filter' ? r.weighted({ FORWARD: 6, INPUT: 2.5, OUTPUT: 1.5 }) : r.pick(HOOKS[table]);
    const how = r.chance(0.5) ? '-I' : '-A';
    if (r.chance(0.2))
      steps.push({ at, what: `${tool} chain`, sh: userChain(r, g, tool, table, hook, `NC-${i}`, how) });
    else
      steps.push({ at, what: `${tool} rule`, sh: `${tool} -t ${table} ${how} ${hook} ${ruleText(r, g, table, hook)}` });
  }
  if (steps.some((step) => step.sh.includes('--match-set')))
    steps.unshift({ at, what: 'ipsets', sh: `ipset restore <<'EOF'\n${SETS(r, g)}\nEOF` });
  return steps;
}

function userChain(r: Random, g: Ground, tool: string, table: Table, hook: Hook, name: string, how: string): string {
  const rules = Array.from(
    { length: r.int(1, 3) },
    () => `${tool} -t ${table} -A ${name} ${ruleText(r, g, table, hook)}`,
  );
  const nested = r.chance(0.35);
  const inner = nested
    ? [
        `${tool} -t ${table} -N ${name}-IN`,
        `${tool} -t ${table} -A ${name}-IN ${ruleText(r, g, table, hook)}`,
        `${tool} -t ${table} ${r.pick(['-I', '-A'])} ${name} ${matches(r, g, table, hook).text} ${r.pick(['-j', '-g'])} ${name}-IN`,
      ]
    : [];
  const jump = r.chance(0.15) ? '-g' : '-j';
  return [
    `${tool} -t ${table} -N ${name}`,
    ...rules,
    ...inner,
    `${tool} -t ${table} ${how} ${hook} ${r.chance(0.5) ? matches(r, g, table, hook).text : ''} ${jump} ${name}`,
  ].join('\n');
}
