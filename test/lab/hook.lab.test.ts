import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeOf, type Texts } from '../net/hook-nodes.ts';
import { labsAvailable } from '../support/lab/available.ts';
import { agrees, answer, type Fate, type Flow, fates } from './hook-model.ts';
import { RouterLab, type Shot, type Sight } from './hook-router.ts';
import { Dice, iptablesScript, nftScript, shots } from './hook-vocabulary.ts';

const SEEDS = Number(process.env.NETCASE_HOOK_SEEDS ?? 8);
const FIRST = Number(process.env.NETCASE_HOOK_FIRST ?? 1);

const CLEAN = `nft flush ruleset
for t in raw mangle nat filter; do
  grep -qx $t /proc/net/ip_tables_names || continue
  iptables-legacy -t $t -F; iptables-legacy -t $t -X
  for c in PREROUTING INPUT FORWARD OUTPUT POSTROUTING; do iptables-legacy -t $t -P $c ACCEPT 2>/dev/null; done
done
ipset destroy 2>/dev/null
ipset create nets hash:net; ipset add nets 10.2.0.0/24; ipset add nets 10.2.0.4/30 nomatch; ipset add nets 172.16.0.0/12
ipset create ports hash:ip,port; ipset add ports 10.2.0.3,tcp:80; ipset add ports 10.2.0.4,udp:53; ipset add ports 8.8.8.8,icmp:8/0
ipset create both hash:net,port; ipset add both 10.2.0.0/24,80; ipset add both 10.2.0.4,udp:53-100
ipset create list list:set; ipset add list nets
true
`;

const COLLECT: Readonly<Record<string, string>> = {
  'fw.iptables-save': 'iptables-nft-save -c',
  'fw.iptables-legacy-save': 'iptables-legacy-save -c',
  'fw.ip-tables-names': 'cat /proc/net/ip_tables_names',
  'fw.nft-json': 'nft -j list ruleset',
  'fw.nft': 'nft -a list ruleset 2>/dev/null',
  'fw.ipset-save': 'ipset save',
  'ip.addr': 'ip addr',
  'ip.route4': 'ip -4 -d route show table all',
  'ip.rule4': 'ip -4 rule',
};

function collect(lab: RouterLab): Texts {
  const texts: Record<string, string> = {};
  for (const [id, command] of Object.entries(COLLECT)) texts[id] = lab.sh(command).stdout;
  return texts;
}

/** Every packet whose end is not one that netcase gives it. */
async function disagreements(lab: RouterLab, packets: readonly Shot[]): Promise<{ wrong: string[]; sure: number }> {
  const texts = collect(lab);
  const space = nodeOf(texts).host;
  const wrong: string[] = [];
  let sure = 0;
  const judge = (shot: Shot, ends: readonly Fate[], sights: readonly Sight[]) => {
    if (ends.every((e) => e.doubts.length === 0 && e.end !== 'unknown')) sure += 1;
    if (ends.some((e) => agrees(e, sights))) return true;
    const told = ends.map(
      (e) =>
        `${e.end} p=${e.probability} ${e.doubts.map((x) => `${x.holds ? '' : 'not '}${x.because}`).join('; ')}\n      ${e.steps.join('\n      ')}`,
    );
    wrong.push(`${JSON.stringify(shot)}\n  kernel: ${JSON.stringify(sights)}\n  netcase:\n    ${told.join('\n    ')}`);
    return false;
  };
  const seen = await lab.shoot(packets);
  const answers: { shot: Shot; flow: Flow }[] = [];
  for (const shot of packets) {
    const ends = fates(space, shot);
    const sights = seen.get(shot.id) ?? [];
    if (!judge(shot, ends, sights) || ends.length !== 1) continue;
    const [fate] = ends;
    const sight = sights.find((s) => s.seen === fate!.end);
    const back = sight === undefined ? null : answer(shot, fate!, sight, shot.id + packets.length);
    if (back !== null) answers.push({ shot: back, flow: { first: shot, fate: fate! } });
  }
  const heard = await lab.shoot(answers.map((a) => a.shot));
  for (const { shot, flow } of answers) judge(shot, fates(space, shot, flow), heard.get(shot.id) ?? []);
  if (wrong.length > 0)
    wrong.push(
      texts['fw.iptables-save'] ?? '',
      texts['fw.iptables-legacy-save'] ?? '',
      (texts['fw.nft'] ?? '').slice(0, 4000),
    );
  return { wrong, sure };
}

describe.skipIf(!labsAvailable())('random rules on a real router', () => {
  let lab: RouterLab;
  let id = 1;
  beforeAll(async () => {
    lab = await RouterLab.create();
  });
  afterAll(() => lab.end());

  const scripts: Readonly<Record<string, (d: Dice) => string>> = {
    'iptables-nft': (d) => iptablesScript(d, 'iptables-nft'),
    'iptables-legacy': (d) => iptablesScript(d, 'iptables-legacy'),
    nft: (d) => nftScript(d),
    'all of them': (d) => {
      const parts = [nftScript(d), iptablesScript(d, 'iptables-legacy'), iptablesScript(d, 'iptables-nft')];
      return parts.slice(d.roll(2)).reverse().join('\n');
    },
  };
  for (const [backend, script] of Object.entries(scripts)) {
    it.each(Array.from({ length: SEEDS }, (_, i) => FIRST + i))(`${backend}, seed %i`, async (seed) => {
      const dice = new Dice(seed);
      lab.sh(CLEAN);
      lab.sh(script(dice));
      const packets = shots(dice, id, 60);
      id += 120;
      const { wrong, sure } = await disagreements(lab, packets);
      if (process.env.NETCASE_HOOK_SURE) console.log('sure', sure, wrong.join('\n').slice(0, 3000));
      expect(wrong.join('\n')).toBe('');
      expect(sure).toBeGreaterThanOrEqual(0);
    });
  }
});
