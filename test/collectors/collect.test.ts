import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bundlesIn, cleanedNodes, daemon, excuse, onlyBundle, present, readBundle, script } from './lab-node.ts';

const node = cleanedNodes();

/** A docker CLI that first says how it was asked. */
const fakeDocker = (body: string): string => `
mkdir -p /tmp/bin; cat >/tmp/bin/docker <<'END'
#!/bin/sh
${body}
END
chmod 755 /tmp/bin/docker; PATH=/tmp/bin:$PATH
`;
const socket = (path: string): string => `
node -e "require('net').createServer().listen('${path}')" & while ! [ -S ${path} ]; do sleep 0.05; done
`;

/** What the collector takes is told by what a machine takes for so many small processes, just before and after it. */
const BASELINE = 200;
/** 2 on a quiet machine. */
const MOST = 5;

describe.skipIf(excuse !== undefined)('collector on a kernel', { timeout: 600_000 }, () => {
  it('collects an idle node in little time', () => {
    const r = node(
      `now() { read -r t _ </proc/uptime; echo "$t" >>/mnt/times; }
now; (nice -n 19 sh -c 'i=0; while [ $i -lt ${BASELINE} ]; do ls / >/dev/null; i=$((i + 1)); done')
now; sh ${script} -o /mnt >/mnt/path; echo $? >/mnt/rc
now; (nice -n 19 sh -c 'i=0; while [ $i -lt ${BASELINE} ]; do ls / >/dev/null; i=$((i + 1)); done'); now`,
      {
        prepare: `
echo '{"Network":"10.244.0.0/16"}' >/dev/null
mkdir -p /run/flannel; printf 'FLANNEL_NETWORK=10.244.0.0/16\\nFLANNEL_SUBNET=10.244.1.1/24\\n' >/run/flannel/subnet.env
mkdir -p /var/lib/kubelet /var/lib/cni/networks/cbr0; echo 'cgroupDriver: systemd' >/var/lib/kubelet/config.yaml
echo abc >/var/lib/cni/networks/cbr0/10.244.1.2
echo '{"name":"cbr0"}' >/etc/cni/net.d/10-flannel.conflist; echo 'token: x' >/etc/cni/net.d/calico-kubeconfig
echo '{"mtu":1450}' >/etc/docker/daemon.json
${daemon('/usr/bin/kubelet', '--hostname-override=n1', '--config', '/var/lib/kubelet/config.yaml')}`,
      },
    );
    expect(r.stderr).toMatch(/^[0-9a-f]{64} {2}netcase_node-a_\d{8}T\d{6}Z_[0-9a-f]{6}\.tar\.gz$/m);
    const bundle = onlyBundle(r);
    expect(readFileSync(join(r.out, 'path'), 'utf8')).toBe(
      `/mnt/${bundle.file.slice(bundle.file.lastIndexOf('/') + 1)}\n`,
    );
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim()).toBe('0');
    const [begun = 0, start = 0, end = 0, done = 0] = readFileSync(join(r.out, 'times'), 'utf8')
      .split('\n')
      .map(Number);
    const processes = (start - begun + (done - end)) / 2;
    console.log(
      `collector on an idle node with one pod: ${(end - start).toFixed(2)} s, ${((end - start) / processes).toFixed(2)} x ${BASELINE} processes, ${bundle.manifest.end.records} records`,
    );
    expect(end - start).toBeLessThan(MOST * processes);

    expect(bundle.manifest.end).toMatchObject({ complete: true, deadline: false });
    expect(bundle.identity).toMatchObject({
      format: 'netcase-bundle',
      version: 1,
      minReader: 1,
      node: { hostname: 'node-a', name: 'node-a' },
      options: ['-o', '/mnt'],
    });
    for (const id of [
      'ip.addr',
      'ip.addr-json',
      'ip.route4',
      'bridge.brctl-show',
      'bridge.fdb',
      'fw.iptables-save',
      'fw.iptables-legacy-save',
      'fw.nft',
      'fw.nft-json',
      'sock.ss-listen',
      'sys.sysctl',
      'kubelet.cmdline',
      'kubelet.config',
      'flannel.subnet-env',
      'docker.daemon-json',
      'cni.ipam',
      'netns.index',
    ])
      expect(bundle.item(id), id).toMatchObject({ status: 'ok', ns: 'host' });
    // Plain outputs, as the command prints them.
    expect(bundle.text('host/ip/addr.txt')).toMatch(/^1: lo: </);
    expect(bundle.text('host/ip/route4.txt')).toContain('default via 10.0.0.254 dev eth0');
    expect(bundle.text('host/ip/link.txt')).toContain('vxlan id 1 local 10.0.0.1 dev eth0');
    expect(bundle.text('host/bridge/brctl-show.txt')).toMatch(/^cni0\t.*veth1$/m);
    expect(bundle.text('host/sys/sysctl.txt')).toMatch(/^net\/ipv4\/conf\/flannel\.1\/rp_filter:\d$/m);
    expect(bundle.text('host/bridge/sysfs.txt')).toMatch(/^\/sys\/class\/net\/veth1\/brport\/state:\d$/m);
    expect(bundle.text('cni/ipam.txt')).toBe('/var/lib/cni/networks/cbr0/10.244.1.2:abc\n');
    expect(bundle.text('cmdline/kubelet.txt').split('\n')).toEqual(
      expect.arrayContaining(['/usr/bin/kubelet', '--hostname-override=n1']),
    );
    expect(bundle.item('cni.conf')).toMatchObject({
      status: 'ok',
      instance: '10-flannel.conflist',
      path: 'files/etc/cni/net.d/10-flannel.conflist',
      src: '/etc/cni/net.d/10-flannel.conflist',
    });
    expect(bundle.manifest.evidence.filter((e) => e.id === 'cni.conf')).toHaveLength(1);
    expect(bundle.item('sys.sysctl-d')).toMatchObject({ status: 'absent', path: 'files/etc/sysctl.d/*' });
    expect(bundle.item('docker.version')).toMatchObject({
      status: 'skipped',
      reason: 'dockerd does not run, asking could start it',
    });
    expect(bundle.item('ct.table').status).toBe('disabled');
    expect(bundle.item('fw.ebtables-save').status).toBe('skipped');

    // The pod's namespace, and the node's own line in the index.
    const index = bundle
      .text('netns/index.txt')
      .trim()
      .split('\n')
      .map((l) => l.split(' '));
    expect(index).toHaveLength(2);
    const own = (bundle.identity.context as { netns: string }).netns;
    expect(index.find((l) => l[0] === own)?.slice(1, 3)).toEqual(['1', 'bash']);
    const pod = index.find((l) => l[0] !== own)!;
    expect(pod.slice(2)).toEqual(['sleep', '-', '-']);
    expect(bundle.item('netns.route4', pod[0])).toMatchObject({
      status: 'ok',
      ns: pod[0],
      path: `netns/${pod[0]}/route4.txt`,
    });
    expect(bundle.text(`netns/${pod[0]}/route4.txt`)).toContain('default via 10.244.1.1 dev eth0');
    expect(bundle.text(`netns/${pod[0]}/sysctl.txt`)).toMatch(/^net\/ipv4\/conf\/eth0\/rp_filter:\d$/m);
    expect(bundle.text(`netns/${pod[0]}/net/route`)).toContain('eth0');
    expect(bundle.manifest.evidence.some((e) => e.id.startsWith('netns.') && e.instance === own)).toBe(false);
    // Every kind of evidence has at least one record.
    const kinds = new Set(bundle.manifest.evidence.map((e) => e.id));
    for (const [, id] of readFileSync(script, 'utf8').matchAll(/^\s*item ([\w.-]+) /gm))
      expect(kinds, id).toContain(id);
  });

  it('makes the same bundle under every shell', () => {
    const shells = ['dash', 'bash --posix', 'mksh', 'yash', 'busybox sh'].filter(
      (s) => process.env.CI || present(s.split(' ')[0]!),
    );
    const r = node(
      shells
        .map((s) => `${s} ${script} --conntrack --node ${s.split(' ')[0]} -o /mnt; echo ${s} $? >>/mnt/rc`)
        .join('\n'),
      {
        prepare: `
printf '{"name":"x"}' >"/etc/cni/net.d/od d\\"na'me\\\\.conf"; echo '{}' >"/etc/cni/net.d/$(printf 'caf\\303\\251.conf')"
echo '{"debug":false}' >/etc/docker/daemon.json
iptables -A FORWARD -m comment --comment 'a "b" c' -j ACCEPT; iptables-legacy -A FORWARD -j ACCEPT`,
      },
    );
    const seen = bundlesIn(r.out).map((file) => {
      const bundle = readBundle(file);
      const lines = bundle.manifest.evidence.map((e) =>
        [e.id, e.path, e.status, e.instance, e.rc, e.stderr, e.argv?.join(' ').replace(/@\d+/, '@')].join('\t'),
      );
      return { name: bundle.identity.node.name, members: bundle.members.join('\n'), lines: lines.join('\n') };
    });
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim().split('\n')).toEqual(shells.map((s) => `${s} 0`));
    expect(seen).toHaveLength(shells.length);
    for (const one of seen) {
      expect(one.members, String(one.name)).toBe(seen[0]!.members);
      expect(one.lines, String(one.name)).toBe(seen[0]!.lines);
    }
    expect(seen[0]!.lines).toContain('od d"na\'me\\.conf');
    expect(seen[0]!.lines).toContain('café.conf');
  });

  it('changes nothing on the host', () => {
    // The node sees the machine's /root, where npm and the browser of other tests write at the same time.
    const snapshot = (name: string): string => `
{
  iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; ip6tables-legacy-save; nft -a list ruleset; nft list tables
  cat /proc/net/ip_tables_names /proc/net/ip6_tables_names
  ip -d link; ip addr; ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all; ipset save
  cat /proc/modules; ls /sys/module
  cd /proc/sys/net; grep -rsH . . | grep -v -e nf_conntrack_count -e /neigh/ -e nf_conntrack_buckets; cd /
  find /etc /run /tmp /opt /var/lib /var/log /var/tmp /root /usr/lib/sysctl.d -xdev ! -path '/tmp/snap*' ! -path /tmp ! -path '/root/.npm*' ! -path '/root/.cache*' ! -path '/root/.config*' -printf '%p %s %m %u %T@ %i\\n' | sort
} 2>&1 | grep -v '^#' | sed -e 's/\\[[0-9]*:[0-9]*\\]//' -e 's/_timer *[0-9.]*//g' >/tmp/snap.${name}
`;
    for (const prepare of [
      '',
      'iptables-legacy -A FORWARD -j ACCEPT; iptables-legacy -t nat -A POSTROUTING -j MASQUERADE',
      'iptables -t nat -A POSTROUTING -j MASQUERADE; nft add table inet x; nft add chain inet x c; ipset create s hash:ip',
    ]) {
      const r = node(
        `sleep 2; ${snapshot('1')} sh ${script} --full --conntrack -o /mnt; echo $? >/mnt/rc; ps -eo args | grep -v -e ' ps' -e grep >/mnt/ps; ${snapshot('2')} diff /tmp/snap.1 /tmp/snap.2 >/mnt/diff; wc -l </tmp/snap.1 >/mnt/lines`,
        { prepare },
      );
      expect(readFileSync(join(r.out, 'diff'), 'utf8'), prepare).toBe('');
      expect(Number(readFileSync(join(r.out, 'lines'), 'utf8'))).toBeGreaterThan(200);
      // Nothing of the collector is left running: the node's shell and its pod.
      expect(readFileSync(join(r.out, 'ps'), 'utf8').split('\n').slice(1).filter(Boolean)).toEqual([
        expect.stringMatching(/^bash .*node\.sh$/),
        'sleep 1000',
        expect.stringMatching(/^ps /),
      ]);
      expect(readFileSync(join(r.out, 'rc'), 'utf8').trim()).toBe('0');
      onlyBundle(r);
    }
  });

  it('asks docker through the socket of the dockerd that runs', () => {
    const r = node(`sh ${script} -o /mnt; echo $? >/mnt/rc`, {
      prepare:
        fakeDocker(
          'echo "$DOCKER_HOST $HOME $*" >>/mnt/asked\ncase "$*" in "ps -a -q"*) echo c1;; "network ls -q"*) echo n1;; *) echo "{}";; esac',
        ) +
        socket('/run/own.sock') +
        daemon('dockerd', '-H', 'unix:///run/own.sock', '--config-file=/etc/docker/other.json') +
        'echo \'{"bip":"10.9.0.1/24"}\' >/etc/docker/other.json\nexport DOCKER_HOST=tcp://192.0.2.1:2375\n',
    });
    const bundle = onlyBundle(r);
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim()).toBe('0');
    const asked = readFileSync(join(r.out, 'asked'), 'utf8')
      .trim()
      .split('\n')
      .filter((l) => !l.endsWith('--version'));
    expect(asked).toHaveLength(9);
    for (const line of asked) expect(line).toMatch(/^unix:\/\/\/run\/own\.sock \/tmp\/netcase\.\S+\/home /);
    expect(bundle.item('docker.network-inspect').status).toBe('ok');
    expect(bundle.item('docker.daemon-json').src).toBe('/etc/docker/other.json');
    expect(bundle.text('files/etc/docker/daemon.json')).toContain('10.9.0.1/24');
    // Neither arguments nor environment of a container are asked for.
    const formats = asked.join('\n');
    expect(formats).not.toMatch(/Env|\.Command|Cmd|Args|Mounts/);
  });

  it('gives a hanging docker its timeout, once', () => {
    const r = node(`sh ${script} -o /mnt; echo $? >/mnt/rc; sleep 1; ps -ef >/mnt/ps`, {
      prepare:
        fakeDocker('[ "$1" != --version ] || exit 0\necho begun; sleep 1000') +
        socket('/run/docker.sock') +
        daemon('dockerd'),
    });
    const bundle = onlyBundle(r);
    const item = bundle.item('docker.version');
    expect(item).toMatchObject({ status: 'timeout' });
    expect(item.ms).toBeGreaterThan(19_000);
    expect(item.ms).toBeLessThan(30_000);
    expect(bundle.text('docker/version.json')).toBe('begun\n');
    expect(bundle.item('docker.info')).toMatchObject({
      status: 'skipped',
      reason: 'docker gave no answer to docker.version',
    });
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim()).toBe('1');
    // The script's child is gone as well (the pod's own `sleep 1000` stays).
    expect(
      readFileSync(join(r.out, 'ps'), 'utf8')
        .split('\n')
        .filter((l) => l.endsWith('sleep 1000')),
    ).toHaveLength(1);
  });

  it('packs what it has when it is told to stop', () => {
    for (const [shell, signal] of [
      ['dash', 'TERM'],
      ['bash --posix', 'TERM'],
      ['mksh', 'HUP'],
      ['yash', 'TERM'],
      ['busybox sh', 'INT'],
    ] as const) {
      if (!process.env.CI && !present(shell.split(' ')[0]!)) continue;
      const r = node(
        // A background job of a shell ignores INT for good; perl-less way out: let env start it with the default.
        `env --default-signal=INT ${shell} ${script} -o /mnt & P=$!; while ! [ -e /tmp/hangs ]; do sleep 0.1; done; kill -${signal} $P; wait $P; echo $? >/mnt/rc; sleep 1.5; ps -ef >/mnt/ps; ls -A /tmp >/mnt/tmp`,
        {
          prepare:
            fakeDocker('[ "$1" != --version ] || exit 0\ntouch /tmp/hangs; sleep 1000') +
            socket('/run/docker.sock') +
            daemon('dockerd'),
        },
      );
      expect(readFileSync(join(r.out, 'rc'), 'utf8').trim(), `${shell}: ${r.stderr}`).toBe('5');
      const bundle = onlyBundle(r);
      expect(bundle.manifest.end.complete).toBe(false);
      expect(bundle.item('docker.version')).toMatchObject({ status: 'failed', reason: 'interrupted' });
      expect(bundle.item('netns.index')).toMatchObject({ status: 'skipped', reason: 'interrupted' });
      expect(bundle.item('ip.addr').status).toBe('ok');
      const ps = readFileSync(join(r.out, 'ps'), 'utf8').split('\n');
      expect(
        ps.filter((l) => l.endsWith('sleep 1000')),
        shell,
      ).toHaveLength(1);
      expect(
        ps.filter((l) => l.includes('netcase-collect')),
        shell,
      ).toHaveLength(0);
      expect(readFileSync(join(r.out, 'tmp'), 'utf8')).not.toContain('netcase');
    }
  });

  it('leaves no spool behind even when it is killed', () => {
    const r = node(
      `sh ${script} -o /mnt & P=$!; while ! [ -e /tmp/hangs ]; do sleep 0.1; done; kill -KILL $P; sleep 2.5; ls -A /tmp /mnt >/mnt/ls`,
      {
        prepare:
          fakeDocker('[ "$1" != --version ] || exit 0\ntouch /tmp/hangs; sleep 3') +
          socket('/run/docker.sock') +
          daemon('dockerd'),
      },
    );
    expect(readFileSync(join(r.out, 'ls'), 'utf8')).not.toContain('netcase');
  });

  it('says so without root, and collects what it may with --unprivileged', () => {
    const as = 'setpriv --reuid 65534 --regid 65534 --clear-groups';
    const r = node(
      `cp ${script} /tmp/c.sh; chmod 644 /tmp/c.sh; ${as} sh /tmp/c.sh -o /mnt; echo $? >/mnt/rc; ${as} sh /tmp/c.sh --unprivileged -o /mnt; echo $? >>/mnt/rc`,
      {
        prepare:
          'mkdir -m 700 /var/lib/kubelet; echo x >/var/lib/kubelet/config.yaml; iptables-legacy -A FORWARD -j ACCEPT',
      },
    );
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim().split('\n')).toEqual(['3', '1']);
    const bundle = onlyBundle(r);
    expect(bundle.identity.context).toMatchObject({ uid: 65534 });
    // Not visible is not absent.
    for (const id of ['kubelet.config', 'fw.ip-tables-names', 'fw.iptables-save', 'fw.nft'])
      expect(bundle.item(id).status, id).toBe('denied');
    expect(bundle.item('ip.addr').status).toBe('ok');
  });

  it('works without iptables, ip and docker', () => {
    const r = node(
      `for f in /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi $(readlink -f /usr/sbin/ip) /usr/bin/ip /usr/sbin/nft /usr/bin/docker /usr/local/bin/docker; do [ -e $f ] && mount --bind /dev/null $f; done; sh ${script} -o /mnt; echo $? >/mnt/rc`,
    );
    const bundle = onlyBundle(r);
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim()).toBe('0');
    for (const id of [
      'fw.iptables-save',
      'fw.iptables-legacy-save',
      'fw.iptables-version',
      'fw.nft',
      'ip.addr',
      'docker.version',
      'docker.ps',
      'netns.addr-json',
    ])
      expect(bundle.item(id), id).toMatchObject({ status: 'missing' });
    expect(bundle.item('fw.iptables-save').reason).toBe('tool not found in PATH: iptables-save');
    expect(bundle.item('netns.proc-route').status).toBe('ok');
    expect(bundle.item('proc.route').status).toBe('ok');
  });

  it('tells a full disk', () => {
    const r = node(
      `mkdir /tmp/small /tmp/spool; mount -t tmpfs -o size=16k tmpfs /tmp/small; mount -t tmpfs -o size=5m tmpfs /tmp/spool
sh ${script} -o /tmp/small; echo $? >/mnt/rc; ls -A /tmp/small >/mnt/ls
( while ! ls -d /tmp/spool/netcase.*/tmp/members >/dev/null 2>&1; do :; done; dd if=/dev/zero of=/tmp/spool/fill bs=64k ) & F=$!
TMPDIR=/tmp/spool sh ${script} -o /mnt; echo $? >>/mnt/rc; kill $F; ls -A /tmp/spool /tmp >>/mnt/ls
chmod 777 /tmp/small; mount -o remount,ro /tmp/small; sh ${script} -o /tmp/small; echo $? >>/mnt/rc
sh ${script} -o - >/dev/full; echo $? >>/mnt/rc`,
    );
    const rc = readFileSync(join(r.out, 'rc'), 'utf8').trim().split('\n');
    expect(rc[0], r.stderr).toBe('4');
    // The disk that fills up meanwhile: no bundle and 4, or a valid one that says what failed.
    expect(['1', '4']).toContain(rc[1]);
    if (rc[1] === '1') onlyBundle(r);
    else expect(bundlesIn(r.out)).toEqual([]);
    expect(rc.slice(2)).toEqual(['4', '4']);
    expect(readFileSync(join(r.out, 'ls'), 'utf8')).not.toContain('netcase');
  });

  it('writes the archive to stdout, also when read from stdin', () => {
    const r = node(`sh -s -- -o - --quick <${script} >/mnt/a.tar.gz 2>/mnt/err; echo $? >/mnt/rc`, {});
    const stem = /netcase_\S+?(?=\.tar\.gz)/.exec(readFileSync(join(r.out, 'err'), 'utf8'))![0];
    const file = join(r.out, `${stem}.tar.gz`);
    writeFileSync(file, readFileSync(join(r.out, 'a.tar.gz')));
    const bundle = readBundle(file);
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim()).toBe('0');
    expect(bundle.identity).toMatchObject({ options: ['-o', '-', '--quick'], collector: { sha256: null } });
    expect(bundle.item('log.dmesg')).toMatchObject({ status: 'disabled', reason: '--quick' });
    expect(bundle.item('netns.addr-json').status).toBe('ok');
  });

  it('finds namespaces without a process, and files inside pods only where they belong to the pod', () => {
    const r = node(`sh ${script} -o /mnt; echo $? >/mnt/rc`, {
      prepare: `
echo top-s3cret-of-the-node >/etc/shadow-like
ip netns add leaked; ip -n leaked link set lo up
for p in good bad; do
  mkdir -p /tmp/$p/usr /tmp/$p/proc /tmp/$p/etc/kube-flannel /tmp/$p/var/lib/kube-proxy
  mount --bind /usr /tmp/$p/usr; ln -s usr/bin /tmp/$p/bin; ln -s usr/lib /tmp/$p/lib; ln -s usr/lib64 /tmp/$p/lib64
done
mkdir /tmp/good/etc/kube-flannel/..data
echo '{"Network":"10.244.0.0/16","Backend":{"Type":"ipsec","PSK":"f0f0-psk"}}' >/tmp/good/etc/kube-flannel/..data/net-conf.json
ln -s ..data/net-conf.json /tmp/good/etc/kube-flannel/net-conf.json
echo 'nameserver 10.96.0.10' >/tmp/good/etc/resolv.conf
ln -s /etc/shadow-like /tmp/bad/etc/resolv.conf; ln -s ../../../../etc/shadow-like /tmp/bad/var/lib/kube-proxy/config.conf
chroot /tmp/good /bin/bash -c 'exec -a /opt/bin/flanneld sleep 1000' &
chroot /tmp/bad /bin/bash -c 'exec -a kube-proxy sleep 1000' &
unshare --net chroot /tmp/bad sleep 1000 & BAD=$!
unshare --net chroot /tmp/good sleep 1000 & GOOD=$!
( exec -a kubelet bash -c 'while :; do sleep 100; done' --config=/etc/shadow-like ) &
while [ "$(ls -l /proc/$BAD/ns/net /proc/$GOOD/ns/net | grep -cF "$(readlink /proc/self/ns/net)" || :)" != 0 ]; do sleep 0.05; done
sleep 0.3`,
    });
    const bundle = onlyBundle(r);
    const index = bundle.text('netns/index.txt');
    expect(index).toMatch(/^\d+ - - - \/run\/netns\/leaked$/m);
    const leaked = /^(\d+) - - -/m.exec(index)![1]!;
    expect(bundle.item('netns.addr-json', leaked)).toMatchObject({ status: 'ok' });
    expect(bundle.item('netns.proc-route', leaked)).toMatchObject({ status: 'ok' });
    expect(bundle.item('flannel.net-conf')).toMatchObject({ status: 'ok', redactions: 1 });
    expect(JSON.parse(bundle.text('flannel/net-conf.json'))).toEqual({
      Network: '10.244.0.0/16',
      Backend: { Type: 'ipsec', PSK: '[REDACTED]' },
    });
    expect(bundle.item('kubelet.kube-proxy-config').status).toBe('absent');
    const resolv = bundle.manifest.evidence.filter((e) => e.id === 'netns.resolv-conf');
    expect(resolv.map((e) => e.status).toSorted()).toEqual(['absent', 'absent', 'ok', 'ok']);
    // A daemon's option names a file, but not any file.
    expect(bundle.item('kubelet.config').src).toBe('/var/lib/kubelet/config.yaml');
    expect(bundle.everything()).not.toContain('top-s3cret-of-the-node');
  });

  it('leaves a debug container for the node itself', () => {
    const r = node(
      `cp ${script} /opt/c.sh; unshare --mount --propagation private bash -c 'mkdir -p /tmp/img; mount --bind / /tmp/img; mount -t tmpfs tmpfs /tmp/img/etc; echo image >/tmp/img/etc/os-release; mount -t tmpfs tmpfs /tmp/img/run; touch /tmp/img/run/.containerenv; mkdir -p /tmp/x; for d in usr bin sbin lib lib64 etc run proc sys dev tmp opt mnt work; do [ -e /$d ] || continue; mkdir -p /tmp/x/$d; mount --rbind /tmp/img/$d /tmp/x/$d 2>/dev/null || mount --rbind /$d /tmp/x/$d; done; mount -t proc proc /tmp/x/proc; mount --rbind /opt /tmp/x/opt; exec chroot /tmp/x sh /opt/c.sh -o /mnt'; echo $? >/mnt/rc`,
      { prepare: 'echo PRETTY_NAME=the-node >/etc/os-release' },
    );
    const bundle = onlyBundle(r);
    expect(bundle.identity.context).toMatchObject({ mode: 'nsenter' });
    expect(bundle.text('files/etc/os-release')).toBe('PRETTY_NAME=the-node\n');
  });
});

describe.skipIf(excuse !== undefined)('hostile names and bytes', { timeout: 600_000 }, () => {
  it('stays valid JSON with odd names, control characters and invalid UTF-8', () => {
    const shells = ['dash', 'bash --posix', 'mksh', 'yash', 'busybox sh'].filter(
      (s) => process.env.CI || present(s.split(' ')[0]!),
    );
    const r = node(
      shells
        .map(
          (s, i) =>
            `PATH=/tmp/bin:$PATH ${s} ${script} --node "$(printf 'n/../${i}"\\\\\\t${s === 'yash' ? '' : '\\303\\251\\377'} x')" -o /mnt; echo $? >>/mnt/rc`,
        )
        .join('\n'),
      {
        prepare: `
printf 'h"o\\\\s\\001t\\377' >/proc/sys/kernel/hostname
touch "/etc/cni/net.d/$(printf 'bad\\377utf8.conf')" "/etc/cni/net.d/$(printf 'a\\tb\\001.conf')" "/etc/cni/net.d/two
lines.conf" "/etc/cni/net.d/-rf *.conf" "/etc/cni/net.d/..conf"
ip link add 'q"b\\r$*' type bridge
mkdir -p /tmp/bin; printf '#!/bin/sh\\n[ "$1" != -V ] || { printf "v1 \\\\"x\\\\\\\\ \\\\001\\\\377\\\\n"; exit; }\\nprintf "no \\\\"luck\\\\" \\\\\\\\ \\\\033[31m \\\\303\\\\251 \\\\377\\\\n" >&2; exit 3\\n' >/tmp/bin/tc; chmod 755 /tmp/bin/tc`,
      },
    );
    const files = bundlesIn(r.out);
    expect(readFileSync(join(r.out, 'rc'), 'utf8').trim().split('\n')).toEqual(shells.map(() => '1'));
    expect(files).toHaveLength(shells.length);
    for (const file of files) {
      expect(file.slice(file.lastIndexOf('/') + 1)).toMatch(
        /^netcase_n-\.\.-\d-[A-Za-z0-9.-]*_\d{8}T\d{6}Z_[0-9a-f]{6}\.tar\.gz$/,
      );
      const bundle = readBundle(file);
      expect(bundle.item('tc.qdisc-json')).toMatchObject({ status: 'failed', rc: 3, stderr: 'host/tc/qdisc.json.err' });
      expect(bundle.item('tc.qdisc-json').reason).toContain('exit status 3: no "luck" \\ \u001b[31m \u00e9');
      const conf = bundle.manifest.evidence.filter((e) => e.id === 'cni.conf');
      expect(conf.map((e) => e.instance)).toContain('a\tb\u0001.conf');
      expect(conf.map((e) => e.instance)).toContain('-rf *.conf');
      for (const member of bundle.members) expect(member).toMatch(/^[A-Za-z0-9_.@+:%=,/-]+$/);
    }
  });
});

describe.skipIf(excuse !== undefined)('secrets', { timeout: 600_000 }, () => {
  it('never reach a bundle', () => {
    const r = node(`SECRET_TOKEN=pl4nted-own-env sh ${script} --conntrack -o /mnt; echo $? >/mnt/rc`, {
      prepare: `
mkdir -p /etc/containerd /etc/default /etc/sysconfig /etc/rancher/k3s/config.yaml.d /var/lib/kubelet/pki /etc/systemd/system /var/log/pods/kube-flannel_x_1/f /etc/kubernetes/manifests /root/.docker 2>/dev/null
cat >/etc/docker/daemon.json <<'END'
{ "mtu": 1450, "registry-mirrors": ["https://user:pl4nted-a@mirror.example"],
  "log-opts": {"splunk-token": "pl4nted-b", "tag": "kept-tag"},
  "auths": {"reg": {"auth": "pl4nted-c==", "identitytoken": "pl4nted-d"}}, "bip": "172.17.0.1/16", "tlsverify": true }
END
cat >/etc/containerd/config.toml <<'END'
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".registry.configs."reg".auth]
  username = "pl4nted-e"
  password = "pl4nted-f \\"pl4nted-g\\" x"
  auth = 'pl4nted-h'
[plugins."io.containerd.grpc.v1.cri".registry.configs."reg".tls]
  ca_file = "/etc/kept-ca.pem"
END
cat >/var/lib/kubelet/config.yaml <<'END'
cgroupDriver: systemd
authentication:
  webhook:
    enabled: true
password: pl4nted-i with blanks and "quotes pl4nted-j
secretKey: |
  pl4nted-k
  pl4nted-l
tlsPrivateKeyFile: /kept/kubelet.key
env:
- name: DB_PASSWORD
  value: pl4nted-m
clusterDomain: cluster.kept
END
cat >/etc/rancher/k3s/config.yaml <<'END'
token: "pl4nted-n"
datastore-endpoint: "postgres://u:pl4nted-o@db:5432/k"
cluster-cidr: 10.42.0.0/16
END
cp /etc/rancher/k3s/config.yaml /etc/rancher/k3s/config.yaml.d/50-x.yaml
printf 'DOCKER_OPTS="--mtu 1450 --log-opt token=pl4nted-p"\\nAWS_SECRET_ACCESS_KEY=pl4nted-q\\nexport HTTP_PROXY=http://p:pl4nted-r@proxy:3128/\\n' >/etc/default/docker
printf 'KUBELET_EXTRA_ARGS=--node-ip=10.0.0.1\\nSOME_KEY="pl4nted-s two"\\n' >/etc/default/kubelet
cat >/etc/cni/net.d/10-x.conflist <<'END'
{"cniVersion":"0.3.1","name":"kept-name","plugins":[{"type":"calico","etcd_password":"pl4nted-t","k8s_auth_token":"pl4nted-u","env":[{"name":"X_TOKEN","value":"pl4nted-v"}],"mtu":1400}]}
END
printf -- '-----BEGIN RSA PRIVATE KEY-----\\npl4ntedw\\n-----END RSA PRIVATE KEY-----\\nnet.ipv4.ip_forward = 1\\nnet.ipv6.conf.all.stable_secret = pl4nted-x\\n' >/etc/sysctl.d/9.conf
echo '2026 I0101 Bearer pl4ntedyyyyyyyyyyyy kept-word token: pl4nted-z' >/var/log/pods/kube-flannel_x_1/f/0.log
printf 'spec:\\n - --cluster-cidr=10.244.0.0/16\\n - --secret=pl4nted-0\\n' >/etc/kubernetes/manifests/kcm.yaml
echo pl4nted-1 >/var/lib/kubelet/pki/kubelet.key; echo pl4nted-2 >/etc/cni/net.d/calico-kubeconfig; echo pl4nted-3 >/run/wgkey
${daemon('kubelet', '--token', 'pl4nted-4', '--node-ip=10.0.0.1', '--bootstrap-token=pl4nted-5', '--authentication-token-webhook=true', '--config=/var/lib/kubelet/config.yaml')}
${daemon('k3s', 'server', '-t', 'pl4nted-6')}
( exec env DB_PASSWORD=pl4nted-7 bash -c 'exec -a flanneld bash -c "while :; do sleep 100; done" --etcd-password=pl4nted-8 --kube-subnet-mgr' ) & sleep 0.2`,
    });
    const bundle = onlyBundle(r);
    const all = bundle.everything();
    expect([...all.matchAll(/.*(pl4nted).*/g)].map((m) => m[0])).toEqual([]);
    expect(bundle.item('docker.daemon-json').redactions).toBe(4);
    for (const id of [
      'cri.containerd-config',
      'kubelet.config',
      'kubelet.k3s-config',
      'docker.default',
      'cni.conf',
      'sys.sysctl-d',
      'kubelet.cmdline',
      'kubelet.cmdline-k3s',
      'flannel.cmdline',
      'log.flannel-pod',
    ])
      expect(bundle.item(id).redactions, id).toBeGreaterThan(0);
    // What is no secret stays, and JSON stays JSON.
    expect(JSON.parse(bundle.text('files/etc/docker/daemon.json'))).toMatchObject({
      mtu: 1450,
      bip: '172.17.0.1/16',
      tlsverify: true,
      'log-opts': { tag: 'kept-tag' },
    });
    expect(JSON.parse(bundle.text('files/etc/cni/net.d/10-x.conflist')).plugins[0]).toMatchObject({
      type: 'calico',
      mtu: 1400,
    });
    expect(bundle.text('files/etc/containerd/config.toml')).toContain('kept-ca');
    expect(bundle.text('files/var/lib/kubelet/config.yaml')).toContain('tlsPrivateKeyFile: /kept/kubelet.key');
    expect(bundle.text('files/var/lib/kubelet/config.yaml')).toContain('clusterDomain: cluster.kept');
    expect(bundle.text('files/etc/rancher/k3s/config.yaml')).toContain('cluster-cidr: 10.42.0.0/16');
    expect(bundle.text('files/etc/default/docker')).toContain('@proxy:3128/');
    expect(bundle.text('files/etc/sysctl.d/9.conf')).toContain('net.ipv4.ip_forward = 1');
    expect(bundle.text('cmdline/kubelet.txt')).toContain('--authentication-token-webhook=true\n');
    expect(bundle.text('staticpods.txt')).toContain('--cluster-cidr=10.244.0.0/16');
    expect(bundle.text('log/flannel-pod.txt')).toContain('kept-word');
    expect(all).not.toContain('tcp_fastopen_key');
  });
});

it.skipIf(excuse !== undefined)('guards: asks nothing that would load a module', { timeout: 600_000 }, () => {
  // A kernel with loadable modules is played by another path for /proc/modules.
  const text = readFileSync(script, 'utf8')
    .replaceAll('/proc/modules', '/run/modules')
    .replaceAll('/proc/kallsyms', '/run/kallsyms')
    .replaceAll('/sys/module/', '/run/module/');
  const r = node(
    `cat >/tmp/c.sh <<'END_OF_SCRIPT'\n${text}\nEND_OF_SCRIPT\necho 'bridge 1 0 - Live 0' >/run/modules; touch /run/kallsyms; sh /tmp/c.sh --conntrack -o /mnt`,
  );
  const bundle = onlyBundle(r);
  for (const id of [
    'fw.iptables-save',
    'fw.nft',
    'fw.nft-json',
    'fw.ipset-save',
    'ct.stat',
    'ct.table',
    'netns.iptables-nft-save',
    'netns.ss-listen',
  ])
    expect(bundle.item(id), id).toMatchObject({ status: 'skipped', reason: expect.stringContaining('load') });
  // netstat needs no module; legacy tables are only read when they are there.
  expect(bundle.item('sock.ss-listen').status).toBe('ok');
  expect(bundle.item('fw.iptables-legacy-save').status).toBe('ok');
  expect(readdirSync(r.out).length).toBeGreaterThan(0);
  expect(spawnSync('sh', ['-n', script]).status).toBe(0);
});
