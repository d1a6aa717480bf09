import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bundlesIn, cleanedNodes, daemon, excuse, onlyBundle, present, readBundle, script } from './lab-node.ts';

const node = cleanedNodes();

/** Listens, and leaves a mark when somebody connects. */
const listener = (path: string): string => `
node -e "require('net').createServer(() => require('fs').appendFileSync('/mnt/connected', 'x')).listen('${path}')" & while ! [ -S '${path}' ]; do sleep 0.05; done
`;

const ID = 'ab'.repeat(32);
const NOBODY = 'cd'.repeat(32);

/** A process in a mount namespace and a cgroup as of a container; `mounts` runs before it, below a root of its own. */
const container = (id: string, mounts: string, as = ''): string => `
mkdir -p /sys/fs/cgroup/nc-test-${process.pid}/${id}
unshare --mount bash -c 'mkdir -p /opt/${id}; mount -t tmpfs tmpfs /opt/${id}; R=/opt/${id}; for d in bin lib lib64 usr proc; do mkdir $R/$d; [ -d /$d ] && mount --rbind /$d $R/$d; done
${mounts}
exec chroot $R ${as} sleep 900' &
while ! [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.05; done
echo $! >/sys/fs/cgroup/nc-test-${process.pid}/${id}/cgroup.procs
`;

const CGROUPS = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup\n';
/** Groups outlive the node: its containers have to go first. */
const REMOVE = `
for c in /sys/fs/cgroup/nc-test-${process.pid}/*/; do echo 1 >$c/cgroup.kill; while ! rmdir $c 2>/dev/null; do sleep 0.05; done; done; rmdir /sys/fs/cgroup/nc-test-${process.pid}
`;

/** The real one would talk to our listeners. */
const NO_DOCKER =
  "mkdir -p /tmp/bin; printf '#!/bin/sh\\nexit 0\\n' >/tmp/bin/docker; chmod 755 /tmp/bin/docker; PATH=/tmp/bin:$PATH\n";
/** As on a host: the machine of the test may be a container itself. */
const HOST = 'NETCASE_MODE=nsenter; export NETCASE_MODE\n';

const shells = ['dash', 'bash --posix', 'mksh', 'yash', 'busybox sh'].filter(
  (s) => process.env.CI || present(s.split(' ')[0]!),
);

describe.skipIf(excuse !== undefined)('docker’s sockets', { timeout: 600_000 }, () => {
  it('are the same under every shell, without a connection', () => {
    const r = node(
      `${shells.map((s) => `${s} ${script} --quick --node ${s.split(' ')[0]} -o /mnt`).join('\n')}\n${REMOVE}`,
      {
        prepare: `${NO_DOCKER}${HOST}${CGROUPS}
mkdir '/run/own dir'; chmod 711 '/run/own dir'
${listener('/run/docker.sock')}${listener('/run/own dir/d.sock')}${listener('/run/other.sock')}${listener('/run/told.sock')}
chmod 660 /run/docker.sock; chgrp 12345 /run/docker.sock; chmod 666 '/run/own dir/d.sock' /run/told.sock
echo '{"hosts": ["unix:///run/told.sock", "tcp://127.0.0.1:2376"]}' >/etc/docker/daemon.json
mkdir -p /etc/systemd/system/docker.socket.d; printf '[Socket]\\nListenStream=%%t/unit.sock\\n' >/etc/systemd/system/docker.socket.d/a.conf
node -e "require('net').createServer().listen('/run/unit.sock.x')" & while ! [ -S /run/unit.sock.x ]; do sleep 0.05; done; mv /run/unit.sock.x /run/unit.sock; chmod 600 /run/unit.sock
${daemon('dockerd', '-H', 'unix:///run/own dir/d.sock', '--host=unix:///run/gone.sock')}
${container(ID, 'mkdir -p $R/host/run; mount --bind /run $R/host/run; mount -o remount,bind,ro $R/host/run; mkdir -p $R/etc; touch $R/etc/s; mount --bind /etc/hosts $R/etc/s')}
${container(NOBODY, 'touch $R/d.sock $R/on-top; mount --bind /run/docker.sock $R/d.sock; mount --bind /run/told.sock $R/on-top; mount --bind /etc/hosts $R/on-top', 'setpriv --reuid=65534 --regid=65534 --groups=7,12345')}`,
      },
    );
    const seen = bundlesIn(r.out).map(readBundle);
    expect(seen).toHaveLength(shells.length);
    for (const bundle of seen) {
      const name = String(bundle.identity.node.name);
      expect(bundle.item('docker.socket'), name).toMatchObject({ status: 'ok' });
      expect(bundle.item('docker.socket-mounts'), name).toMatchObject({ status: 'ok' });
      expect(bundle.text('docker/socket.txt'), name).toBe(`\
socket mode=srw-rw---- uid=0 user=root gid=12345 group=- listening=yes path=/run/docker.sock
dir mode=drwxrwxrwt uid=0 gid=0 path=/run
dir mode=drwxr-xr-x uid=0 gid=0 path=/
link path=/var/run/docker.sock target=/run/docker.sock
socket mode=srw-rw-rw- uid=0 user=root gid=0 group=root listening=yes path=/run/own dir/d.sock
dir mode=drwx--x--x uid=0 gid=0 path=/run/own dir
socket mode=srw-rw-rw- uid=0 user=root gid=0 group=root listening=yes path=/run/told.sock
socket mode=srw------- uid=0 user=root gid=0 group=root listening=no path=/run/unit.sock
`);
      const mounts = bundle.text('docker/socket-mounts.txt').replace(/(pid|dev)=\S+/g, '$1=N');
      const lines = mounts.split('\n');
      expect(lines.filter((l) => l.startsWith('mount')).sort(), name).toEqual(
        [
          ...['/docker.sock', '/own\\040dir/d.sock', '/told.sock', '/unit.sock'].map(
            (s) =>
              `mount container=${ID} pid=N mode=ro at=/host/run socket=/host/run${s} same=${s.includes('\\') ? '-' : 'yes'} host=/run${s}`,
          ),
          `mount container=${NOBODY} pid=N mode=rw at=/d.sock socket=/d.sock same=yes host=/run/docker.sock`,
          `mount container=${NOBODY} pid=N mode=rw at=/on-top socket=/on-top same=no host=/run/told.sock`,
        ].sort(),
      );
      const people = lines.filter((l) => l.startsWith('process'));
      expect(people, name).toHaveLength(2);
      expect(people.join('\n')).toMatch(
        new RegExp(`container=${ID} pid=N comm=sleep uid=0 gid=0 groups=\\S+ caps=[0-9a-f]{16} userns=host label=\\S+`),
      );
      expect(people.join('\n')).toMatch(
        new RegExp(`container=${NOBODY} pid=N comm=sleep uid=65534 gid=65534 groups=7,12345 caps=0{16} userns=host`),
      );
      expect(lines.at(-2)).toMatch(/^looked namespaces=\d+ containers=2 unread=0$/);
      // Nothing of the container's other mounts.
      expect(mounts).not.toContain('hosts');
    }
    expect(() => readFileSync(join(r.out, 'connected'))).toThrow();
  });

  it('are absent where there are none', () => {
    const bundle = onlyBundle(node(`sh ${script} --quick -o /mnt`, { prepare: HOST }));
    expect(bundle.item('docker.socket')).toMatchObject({
      status: 'absent',
      reason: expect.stringContaining('no socket'),
    });
    expect(bundle.item('docker.socket-mounts')).toMatchObject({ status: 'absent' });
  });

  it('are no pass without root: directories that are closed, mounts of others', () => {
    const r = node(
      `cp ${script} /tmp/c.sh; chmod 644 /tmp/c.sh; setpriv --reuid 65534 --regid 65534 --clear-groups sh /tmp/c.sh --unprivileged --quick -o /mnt`,
      {
        prepare: `${NO_DOCKER}${HOST}mkdir -m 700 /run/shut; ${listener('/run/docker.sock')}echo '{"hosts":["unix:///run/shut/d.sock"]}' >/etc/docker/daemon.json`,
      },
    );
    const bundle = onlyBundle(r);
    expect(bundle.text('docker/socket.txt')).toMatch(/^denied path=\/run\/shut\/d\.sock$/m);
    expect(bundle.text('docker/socket.txt')).toMatch(
      /^socket mode=srwx\S+ .* listening=yes path=\/run\/docker\.sock$/m,
    );
    expect(bundle.item('docker.socket')).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('takes root'),
    });
    expect(bundle.item('docker.socket-mounts')).toMatchObject({ status: 'denied' });
  });
});
