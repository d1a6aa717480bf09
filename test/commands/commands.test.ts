import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { netcase, root } from '../support/analyse.ts';

const dir = mkdtempSync(join(tmpdir(), 'nc-commands-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const fixture = (name: string) => join(root, 'fixtures/bundles', name);
const demo = fixture('demo');
const bundles = readdirSync(demo)
  .filter((n) => n.endsWith('.tar.gz'))
  .sort()
  .map((n) => join(demo, n));
const kase = join(dir, 'demo.netcase');
const bin = join(root, 'bin/netcase.cjs');
let made = 0;
const fresh = () => {
  made += 1;
  const folder = join(dir, String(made));
  mkdirSync(folder);
  return folder;
};

beforeAll(async () => {
  const ran = await netcase([
    'analyze',
    demo,
    '--case',
    kase,
    '--format',
    'html',
    '--format',
    'json',
    '-o',
    join(dir, 'demo.html'),
  ]);
  expect(ran).toMatchObject({ code: 1, stdout: '' });
});

describe('exit codes', () => {
  const codes: Record<string, [number, readonly string[] | (() => readonly string[])]> = {
    'clean is 0': [0, () => ['analyze', fixture('healthy-vxlan'), '--case', join(fresh(), 'c')]],
    'a finding is 1': [1, () => ['analyze', demo, '--case', join(fresh(), 'c')]],
    'a finding under --fail-on is 0': [
      0,
      () => ['analyze', fixture('bundle-incomplete'), '--case', join(fresh(), 'c'), '--fail-on', 'critical'],
    ],
    'an unknown command is 2': [2, ['nonsense']],
    'an unknown flag is 2': [2, ['analyze', '--nonsense']],
    'a bad flag value is 2': [2, ['analyze', demo, '--format', 'pdf']],
    'no case is 2': [2, ['findings', '--case', join(dir, 'none')]],
    'an unknown rule is 2': [2, ['explain', 'nonsense']],
    'an unreadable input is 3': [3, () => ['analyze', join(dir, 'nothing.tar.gz'), '--case', join(fresh(), 'c')]],
    'no bundle is 3': [
      3,
      () => {
        const folder = fresh();
        writeFileSync(join(folder, 'x.tar.gz'), 'not an archive');
        return ['analyze', join(folder, 'x.tar.gz'), '--case', join(folder, 'c')];
      },
    ],
    'too little evidence is 4': [
      4,
      () => {
        const folder = fresh();
        mkdirSync(join(folder, 'in/host/sys'), { recursive: true });
        writeFileSync(join(folder, 'in/host/sys/hostname.txt'), 'web-1\n');
        return ['analyze', join(folder, 'in'), '--node', 'web-1', '--case', join(folder, 'c')];
      },
    ],
    'a file that is no case is 5': [
      5,
      () => {
        const file = join(fresh(), 'c');
        writeFileSync(file, 'this is not a case file, it is some text\n'.repeat(200));
        return ['findings', '--case', file];
      },
    ],
  };
  for (const [name, [code, args]] of Object.entries(codes)) {
    it(name, async () => {
      const ran = await netcase(typeof args === 'function' ? args() : args);
      expect(ran.code, ran.stderr).toBe(code);
      if (code >= 2) expect(ran.stderr).not.toBe('');
      expect(ran.stderr).not.toContain('internal error');
    });
  }

  it('a locked case is 6', async () => {
    const file = join(fresh(), 'c');
    cpSync(kase, file);
    const db = new Database(file);
    db.exec('begin immediate');
    try {
      const ran = await netcase(['ingest', fixture('healthy-vxlan'), '--case', file]);
      expect(ran.code, ran.stderr).toBe(6);
    } finally {
      db.close();
    }
  });

  it('interrupted is 130', async () => {
    const child = spawn(process.execPath, [bin, 'analyze', '-', '--case', join(fresh(), 'c')], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    setTimeout(() => child.kill('SIGINT'), 700);
    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(130);
  });

  it('ingest and query work; a query that writes is refused: 2', async () => {
    const file = join(fresh(), 'c');
    expect((await netcase(['ingest', demo, '--case', file])).code).toBe(0);
    const rows = await netcase(['query', 'select 1 as one', '--case', file, '--json']);
    expect(JSON.parse(rows.stdout)).toEqual([{ one: 1 }]);
    expect((await netcase(['query', 'create table x(y)', '--case', file])).code).toBe(2);
  });

  it('an old Node is told so in one sentence: 70', () => {
    const old = '/usr/bin/node';
    if (!existsSync(old) || !execFileSync(old, ['-v'], { encoding: 'utf8' }).startsWith('v20')) return;
    const ran = spawnSync(old, [bin, 'rules'], { encoding: 'utf8' });
    expect(ran.status).toBe(70);
    expect(ran.stdout).toBe('');
    expect(ran.stderr.trim().split('\n')).toHaveLength(1);
    expect(ran.stderr).toContain('needs Node 22');
  });
});

describe('inputs', () => {
  const nodes = async (args: readonly string[], more: Parameters<typeof netcase>[1] = {}) => {
    const ran = await netcase(
      ['analyze', ...args, '--case', join(fresh(), 'c'), '--format', 'json', '-o', '-', '-q'],
      more,
    );
    const json = JSON.parse(ran.stdout) as { nodes: { id: string }[]; problems: unknown[] };
    return { code: ran.code, ids: json.nodes.map((n) => n.id).sort(), stderr: ran.stderr };
  };
  it('stdin, a quoted glob, a folder', async () => {
    expect((await nodes(['-'], { input: readFileSync(bundles[0] as string) })).ids).toEqual(['node-a']);
    expect((await nodes([join(demo, '*.tar.gz')])).ids).toEqual(['node-a', 'node-b', 'node-c']);
    expect((await nodes([demo])).ids).toEqual(['node-a', 'node-b', 'node-c']);
  });
  it('an unpacked bundle, and loose files with --node', async () => {
    const folder = fresh();
    execFileSync('tar', ['-C', folder, '-xzf', bundles[1] as string]);
    const inner = join(folder, readdirSync(folder)[0] as string);
    expect((await nodes([inner])).ids).toEqual(['node-b']);
    const loose = join(fresh(), 'pasted');
    mkdirSync(join(loose, 'host'), { recursive: true });
    for (const part of ['fw', 'ip']) cpSync(join(inner, 'host', part), join(loose, 'host', part), { recursive: true });
    expect((await nodes([loose, '--node', 'web-1'])).ids).toEqual(['web-1']);
  });
  it('two folders with the very same files are two nodes', async () => {
    const all = fresh();
    for (const name of ['web-1', 'web-2']) {
      mkdirSync(join(all, name, 'files/etc/docker'), { recursive: true });
      writeFileSync(join(all, name, 'files/etc/docker/daemon.json'), '{"debug": "true"}\n');
    }
    expect((await nodes([all])).ids).toEqual(['web-1', 'web-2']);
  });
  it('two folders of loose files by the same name are two nodes, every time', async () => {
    const folders = ['a', 'b'].map((customer) => {
      const loose = join(fresh(), customer, 'web');
      mkdirSync(join(loose, 'host/ip'), { recursive: true });
      writeFileSync(join(loose, 'host/ip/rule4.txt'), `0:\tfrom all lookup local\n7:\tfrom all lookup ${customer}\n`);
      return loose;
    });
    const file = join(fresh(), 'c');
    for (const _ of [1, 2]) {
      await netcase(['analyze', ...folders, '--case', file, '-q']);
      const listed = JSON.parse((await netcase(['nodes', '--case', file, '--json'])).stdout) as {
        nodes: { node: string; current: boolean }[];
      };
      expect(listed.nodes.map((n) => `${n.node} ${n.current}`).sort()).toEqual([
        'web true',
        expect.stringMatching(/^web@[0-9a-f]{6} true$/),
      ]);
    }
  });
  it('a folder that grew stands for its node; one with other contents hides nothing, in a later run either', async () => {
    const folder = (forward: string) => {
      const loose = join(fresh(), 'web');
      mkdirSync(join(loose, 'host/sys'), { recursive: true });
      writeFileSync(join(loose, 'host/sys/sysctl.txt'), `net/ipv4/ip_forward:${forward}\n`);
      return loose;
    };
    const file = join(fresh(), 'c');
    const analysed = async (loose: string, ...more: string[]) => {
      const ran = await netcase(['analyze', loose, '--case', file, '--format', 'json', '-o', '-', ...more]);
      const { problems } = JSON.parse(ran.stdout) as { problems: { code: string; node: string; message: string }[] };
      const listed = JSON.parse((await netcase(['nodes', '--case', file, '--json'])).stdout) as {
        nodes: { node: string; current: boolean; items: unknown }[];
      };
      return {
        nodes: listed.nodes.map((n) => `${n.node} ${n.current}`),
        said: problems.filter((p) => p.code === 'like-named-folder').map((p) => p.message),
      };
    };
    const first = folder('0');
    expect(await analysed(first)).toEqual({ nodes: ['web true'], said: [] });
    mkdirSync(join(first, 'host/ip'));
    writeFileSync(join(first, 'host/ip/rule4.txt'), '0:\tfrom all lookup local\n');
    expect(await analysed(first)).toEqual({ nodes: ['web false', 'web true'], said: [] });
    const other = await analysed(folder('1'));
    expect(other.nodes).toEqual(['web false', 'web true', expect.stringMatching(/^web@[0-9a-f]{6} true$/)]);
    expect(other.said).toEqual([
      expect.stringMatching(/^web@[0-9a-f]{6} is another folder of files by the name of web/),
    ]);
    // the analyst says that it is the same node: the last one stands
    const named = await analysed(folder('2'), '--node', 'web');
    expect(named.nodes.filter((n) => n === 'web true')).toHaveLength(1);
    expect(named.nodes.filter((n) => n === 'web false')).toHaveLength(2);
  });
  it('a pasted ruleset that was cut, and a line that nobody understands, are said', async () => {
    const loose = join(fresh(), 'pasted');
    const file = (path: string) =>
      execFileSync('tar', ['-xzOf', bundles[1] as string, '--wildcards', `*/${path}`], { encoding: 'utf8' });
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(loose, path)), { recursive: true });
      writeFileSync(join(loose, path), text);
    };
    write('host/ip/addr.txt', `${file('host/ip/addr.txt')}kernel: oops\n`);
    write('host/fw/iptables-save.txt', file('host/fw/iptables-save.txt').split('\n').slice(0, 20).join('\n'));
    const cut = join(fresh(), 'cut.netcase');
    expect((await netcase(['analyze', loose, '--case', cut, '-q'])).code).toBe(4);
    const { evidence } = JSON.parse((await netcase(['coverage', '--case', cut, '--json'])).stdout);
    expect(evidence.map((g: { evidence: string; status: string }) => `${g.evidence} ${g.status}`)).toEqual([
      expect.stringMatching(/^ip\.addr read in part: one line was not understood \(line \d+: /),
      expect.stringMatching(/^fw\.iptables-save read in part: .*without COMMIT/),
    ]);
  });
  it('a refused input beside good ones: the others are analysed, exit 3', async () => {
    const bad = join(fresh(), 'bad.tar.gz');
    writeFileSync(
      bad,
      readFileSync(bundles[0] as string)
        .subarray(0, 900)
        .fill(7),
    );
    const { code, ids, stderr } = await nodes([...bundles.slice(1), bad]);
    expect({ code, ids }).toEqual({ code: 3, ids: ['node-b', 'node-c'] });
    expect(stderr).toContain('bad.tar.gz');
  });
});

describe('outputs', () => {
  it('JSON validates against the schema that ships', async () => {
    const schema = JSON.parse(readFileSync(join(root, 'schema/analysis.v1.json'), 'utf8'));
    const check = new Ajv2020({ allErrors: true, strict: false }).compile(schema);
    for (const name of ['demo', 'healthy-vxlan', 'bundle-incomplete', 'pod-cidr-duplicate']) {
      const ran = await netcase([
        'analyze',
        fixture(name),
        '--case',
        join(fresh(), 'c'),
        '--format',
        'json',
        '-o',
        '-',
        '-q',
      ]);
      expect(check(JSON.parse(ran.stdout)), JSON.stringify(check.errors)).toBe(true);
      expect(ran.stderr).toBe('');
    }
  });
  it('a slow reader gets every byte, whatever the exit code', () => {
    // a pipe of one page, read when the command has had time to end
    const slow = `import fcntl, os, subprocess, sys, time
r, w = os.pipe()
fcntl.fcntl(w, 1031, 4096)
p = subprocess.Popen(sys.argv[1:], stdout=w)
os.close(w)
time.sleep(1)
sys.stdout.buffer.write(os.fdopen(r, 'rb').read())
sys.exit(p.wait())`;
    const args = ['analyze', '--case', kase, '--format', 'json', '-o', '-'];
    const ran = spawnSync('python3', ['-c', slow, process.execPath, bin, ...args], { encoding: 'utf8' });
    expect(ran.status).toBe(1);
    expect(ran.stdout.length).toBeGreaterThan(8192);
    JSON.parse(ran.stdout);
  });
  it('every command that lists prints a table, and JSON with --json', async () => {
    for (const command of ['findings', 'nodes', 'coverage', 'history']) {
      const table = await netcase([command, '--case', kase]);
      expect(table).toMatchObject({ code: 0, stderr: '' });
      expect(table.stdout.split('\n').length).toBeGreaterThan(2);
      expect(table.stdout).not.toContain('\u001b');
      JSON.parse((await netcase([command, '--case', kase, '--json'])).stdout);
    }
    const rows = async (...args: string[]) => JSON.parse((await netcase([...args, '--case', kase, '--json'])).stdout);
    expect(
      await rows('findings', '--node', 'node-b', '--severity', 'critical', '--rule', 'forward-drops-pod-traffic'),
    ).toMatchObject([
      { rule: 'forward-drops-pod-traffic', nodes: ['node-b'], cite: 'node-b:host/fw/iptables-save.txt:15' },
    ]);
    expect(await rows('findings', '--rule', 'pod-cidr-duplicate')).toEqual([]);
    expect(await rows('history', '--type', 'bundle.ingested')).toHaveLength(3);
    expect((await rows('coverage')).verdicts['forward-drops-pod-traffic']).toMatchObject({ findings: 1, pass: 2 });
    expect(await rows('findings', '--node', 'node-c', '--rule', 'forward-drops-pod-traffic')).toEqual([]);
    const nodes = (await rows('nodes')).nodes as { node: string; current: boolean; findings: number }[];
    expect(nodes.map((n) => [n.node, n.current])).toEqual(['node-a', 'node-b', 'node-c'].map((n) => [n, true]));
    for (const { node, findings } of nodes) expect(await rows('findings', '--node', node)).toHaveLength(findings);
    expect((await netcase(['why', 'forward-drops-pod-traffic', '--node', 'node-b', '--case', kase])).stdout).toContain(
      'FORWARD DROP',
    );
    expect((await netcase(['rules'])).stdout).toContain('forward-drops-pod-traffic');
    expect((await netcase(['explain', 'forward-drops-pod-traffic'])).code).toBe(0);
    expect((await netcase(['--help'])).code).toBe(0);
  });
  it('a link or a FIFO as output is refused', async () => {
    const folder = fresh();
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'link.html'));
    execFileSync('mkfifo', [join(folder, 'fifo.html')]);
    for (const name of ['link.html', 'fifo.html']) {
      const ran = await netcase(['report', '--case', kase, '-o', join(folder, name)]);
      expect(ran.code).toBe(3);
      expect(ran.stderr).toContain('not a regular file');
    }
    expect(existsSync(join(folder, 'elsewhere'))).toBe(false);
  });
  it('a closed pipe is no error', () => {
    const ran = spawnSync(
      'sh',
      ['-c', '("$0" "$1" report --case "$2" --format html -o -; echo $? >&2) | head -1', process.execPath, bin, kase],
      { encoding: 'utf8' },
    );
    expect(ran.stderr.trim()).toBe('0');
  });
});

describe('accept', () => {
  it('needs a reason, a date to come and a finding that is there', async () => {
    const copy = join(fresh(), 'c.netcase');
    cpSync(kase, copy);
    const finding = 'egress-masquerade-missing/node-a:cni0 10.244.1.0/24';
    const accept = (...args: string[]) => netcase(['accept', ...args, '--case', copy]);
    expect((await accept(finding)).code).toBe(2);
    expect((await accept(finding, '--because', ' ')).code).toBe(2);
    for (const until of ['soon', '2027-02-30', '2001-01-01'])
      expect(await accept(finding, '--because', 'x', '--until', until)).toMatchObject({ code: 2, stdout: '' });
    expect((await accept('egress-masquerade-missing', '--because', 'x')).stderr).toContain(`did you mean "${finding}"`);
  });
  it('is kept with its reason, no longer fails the run, and survives another analysis', async () => {
    const copy = join(fresh(), 'c.netcase');
    cpSync(kase, copy);
    const all = JSON.parse((await netcase(['findings', '--case', copy, '--json'])).stdout) as { id: string }[];
    for (const { id } of all) {
      const done = await netcase([
        'accept',
        id,
        '--because',
        'the gateway does it',
        '--until',
        '2999-12-31',
        '--case',
        copy,
      ]);
      expect(done).toMatchObject({ code: 0, stderr: '' });
      expect(done.stdout).toContain(`accepted ${id} until 2999-12-31`);
    }
    const events = JSON.parse(
      (await netcase(['history', '--type', 'finding.accepted', '--case', copy, '--json'])).stdout,
    );
    expect(events).toHaveLength(all.length);
    const again = await netcase(['analyze', ...bundles, '--case', copy, '--format', 'json', '-o', '-', '-q']);
    expect(again.code).toBe(0);
    const json = JSON.parse(again.stdout) as { findings: { accepted: unknown }[] };
    expect(json.findings).toHaveLength(all.length);
    for (const f of json.findings)
      expect(f.accepted).toMatchObject({ because: 'the gateway does it', until: '2999-12-31' });
  });
});

describe('the case file', () => {
  it('the same bundles twice change nothing', async () => {
    const again = await netcase(['analyze', demo, '--case', kase, '--format', 'json', '-o', '-', '-q']);
    expect(JSON.parse(again.stdout).case).toEqual(JSON.parse(readFileSync(join(dir, 'demo.json'), 'utf8')).case);
  });
  it('verify knows a true report, and an altered one: 5', async () => {
    expect((await netcase(['verify', '--case', kase, join(dir, 'demo.html')])).code).toBe(0);
    const altered = join(fresh(), 'demo.html');
    writeFileSync(altered, readFileSync(join(dir, 'demo.html'), 'utf8').replace('Critical', 'Low'));
    expect((await netcase(['verify', '--case', kase, altered])).code).toBe(5);
  });
  it('opens when copied elsewhere; replay gives the same verdict', async () => {
    const copy = join(fresh(), 'moved.netcase');
    cpSync(kase, copy);
    expect((await netcase(['findings', '--case', copy])).stdout).toBe(
      (await netcase(['findings', '--case', kase])).stdout,
    );
    expect((await netcase(['replay', '--case', copy])).code).toBe(0);
  });
  it('a case that may only be read is reported all the same, and says what that means', async () => {
    const [there, here] = [fresh(), fresh()];
    cpSync(kase, join(there, 'c.netcase'));
    const mounted = spawnSync('mount', ['--bind', there, here]).status === 0;
    if (mounted) execFileSync('mount', ['-o', 'remount,ro,bind', here]);
    else chmodSync(join(there, 'c.netcase'), 0o400);
    try {
      const ran = await netcase(['report', '--case', join(mounted ? here : there, 'c.netcase'), '--format', 'md']);
      expect(ran.code).toBe(0);
      expect(ran.stdout).toBe((await netcase(['report', '--case', kase, '--format', 'md'])).stdout);
      expect(ran.stderr).toContain('verify will not know it');
    } finally {
      if (mounted) execFileSync('umount', [here]);
    }
  });
  it.skipIf(process.getuid?.() !== 0)('a full disk is no error of the program', async () => {
    const small = fresh();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', small]);
    try {
      const ran = await netcase(['analyze', demo, '--case', join(small, 'c.netcase'), '-q']);
      expect(ran.stderr).toBe(
        'netcase: no space left on the disk of the case file; nothing of this step was written\n',
      );
      expect(ran.code).toBe(3);
    } finally {
      execFileSync('umount', [small]);
    }
  });
  it('needs no network', () => {
    const ran = spawnSync(
      'unshare',
      ['-n', process.execPath, bin, 'analyze', demo, '--case', join(fresh(), 'c'), '-q'],
      { encoding: 'utf8' },
    );
    if (ran.stderr.includes('unshare failed')) return;
    expect(ran.status, ran.stderr).toBe(1);
  });
});
