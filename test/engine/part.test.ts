import { beforeAll, describe, expect, it } from 'vitest';
import { NodeFacts } from '../../src/engine/index.ts';
import type { FactTypes } from '../../src/facts/index.ts';
import { recordedTexts } from '../support/bundle-nodes.ts';
import { type Files, nodeEvidence } from '../support/rule-table.ts';

type Kind = 'addresses' | 'links' | 'routes4' | 'rules4' | 'fdb';
const PATHS: Readonly<Record<Kind, string>> = {
  addresses: 'host/ip/addr.txt',
  links: 'host/ip/link.txt',
  routes4: 'host/ip/route4.txt',
  rules4: 'host/ip/rule4.txt',
  fdb: 'host/bridge/fdb.txt',
};

/** What a list says that somebody would miss. */
const TOLD: { readonly [K in Kind]: (value: FactTypes[K]) => readonly string[] } = {
  addresses: ({ devices }) =>
    devices.flatMap((d) => [d.name, ...d.addresses.filter((a) => a.family === 4).map((a) => a.address)]),
  links: ({ devices }) => devices.map((d) => d.name),
  // those that the kernel makes, of addresses
  routes4: ({ routes }) =>
    routes.filter((r) => r.proto === 'kernel' && r.type !== 'broadcast').map((r) => `${r.type} ${r.dst}`),
  rules4: ({ rules }) => rules.filter((r) => r.table !== 'default').map((r) => String(r.pref)),
  fdb: ({ entries }) => entries.filter((e) => e.dst !== undefined).map((e) => `${e.mac} ${e.dst}`),
};

let files: Files;
beforeAll(async () => {
  const texts = await recordedTexts('healthy-vxlan', 'node-a');
  files = Object.fromEntries(Object.values(PATHS).map((path) => [path, texts.get(path) ?? '']));
});

const factsOf = (changed: Files = {}, format: 'loose-files' | 'netcase-bundle/1' = 'loose-files') =>
  new NodeFacts(nodeEvidence('n', { files: { ...files, ...changed }, info: { format } }));

function fact<K extends Kind>(kind: K, changed?: Files) {
  const found = factsOf(changed).get(kind);
  return found.missing ? { closed: false, told: [] } : { closed: found.closed, told: TOLD[kind](found.value) };
}

const ID = 'c0ffee123456';
const kinds = Object.keys(PATHS) as Kind[];

describe('files that somebody pasted', () => {
  it.each(kinds)('%s: whole as they are', (kind) => {
    expect(fact(kind).closed).toBe(true);
    expect(fact(kind).told.length).toBeGreaterThan(1);
  });

  it.each([
    ['head', kinds],
    ['tail', ['addresses', 'links', 'rules4'] as Kind[]],
  ] as const)('what %s cut off is not taken for absent', (how, of) => {
    for (const kind of of) {
      const lines = String(files[PATHS[kind]]).trimEnd().split('\n');
      const all = fact(kind).told;
      for (let at = 1; at < lines.length; at += 1) {
        const kept = how === 'head' ? lines.slice(0, at) : lines.slice(at);
        const cut = fact(kind, { [PATHS[kind]]: `${kept.join('\n')}\n` });
        if (all.some((one) => !cut.told.includes(one))) expect(cut.closed, `${kind}, ${how} at ${at}`).toBe(false);
      }
    }
  });

  it('a device that only routes name: neither list of devices is whole', () => {
    const routes = `${files[PATHS.routes4]}10.99.0.0/16 dev wg7 scope link\n`;
    expect(fact('addresses', { [PATHS.routes4]: routes }).closed).toBe(false);
    expect(fact('links', { [PATHS.routes4]: routes }).closed).toBe(false);
  });

  it('containers that docker counts, networks that it lists', () => {
    const of = (info: string, list: string) =>
      factsOf({
        'docker/info.json': info,
        'docker/network-ls.txt': list,
        'docker/containers.jsonl': '{"Id":"aa","Name":"/web","State":{"Status":"running","Pid":7}}\n',
        'docker/network-inspect.json': `[{"Id":"${ID}","Name":"none","Driver":"null","Scope":"local"}]`,
      });
    const list = `NETWORK ID     NAME      DRIVER    SCOPE\n${ID}   none      null      local\n`;
    const closed = (facts: NodeFacts) =>
      (['dockerContainers', 'dockerNetworks'] as const).map((kind) => {
        const found = facts.get(kind);
        return !found.missing && found.closed;
      });
    expect(closed(of('{"ContainersRunning":1}', list))).toEqual([true, true]);
    expect(closed(of('{"ContainersRunning":2}', `${list}9f3b7c1d2e4a   app       bridge    local\n`))).toEqual([
      false,
      false,
    ]);
  });
});

it('a bundle of the collector says itself what is whole', () => {
  const { closed } = factsOf({ [PATHS.addresses]: '1: lo: <LOOPBACK,UP> mtu 65536\n' }, 'netcase-bundle/1').get(
    'addresses',
  ) as { closed: boolean };
  expect(closed).toBe(true);
});
