import { describe, expect, it } from 'vitest';
import { lineOf, parse, parserOf, sample } from './firewall-docker-samples.ts';

const ID = 'ab'.repeat(32);

describe('docker/socket.txt', () => {
  it('of a lab', () => {
    const text = sample('docker.socket', 'lab');
    expect(parse('dockerSocket', text)).toEqual({
      sockets: [
        {
          line: 1,
          path: '/run/docker.sock',
          mode: 'srw-rw----',
          uid: 0,
          gid: 105,
          user: 'root',
          group: 'docker',
          listening: true,
        },
      ],
      directories: [
        { line: 2, path: '/run', mode: 'drwxr-xr-x' },
        { line: 3, path: '/', mode: 'drwxr-xr-x' },
      ],
      links: [{ line: 4, path: '/var/run/docker.sock', target: '/run/docker.sock' }],
      denied: [],
    });
  });

  it('paths with blanks, access control lists, owners without a name, what could not be seen', () => {
    const text = `socket mode=srw-rw----+ uid=1000 user=- gid=1001 group=- listening=no path=/srv/a b=c path=/d.sock
link path=/srv/a b target=/srv/x y
denied path=/srv/shut/docker.sock
other mode=drwxr-xr-x path=/var/run/docker.sock
`;
    const { sockets, links, denied } = parse('dockerSocket', text);
    expect(sockets).toEqual([
      { line: 1, path: '/srv/a b=c path=/d.sock', mode: 'srw-rw----+', uid: 1000, gid: 1001, listening: false },
    ]);
    expect(links).toEqual([{ line: 2, path: '/srv/a b', target: '/srv/x y' }]);
    expect(denied).toEqual([{ line: 3, path: '/srv/shut/docker.sock' }]);
  });

  it('leaves out no line silently', () => {
    parse(
      'dockerSocket',
      'socket mode=660 uid=0 gid=0 path=/run/docker.sock\ndir mode=drwxr-xr-x path=/run\nx\n',
      [1, 3],
    );
    parse(
      'dockerSocket',
      'dir mode=drwxr-xr-x path=/run\nsocket mode=srw-rw---- uid=x gid=0 path=/run/d\ndenied path=x\n',
      [2, 3],
    );
    expect(parserOf('dockerSocket').parse('ls: not found')).toMatchObject({ ok: false });
    expect(parse('dockerSocket', '').sockets).toEqual([]);
  });
});

describe('docker/socket-mounts.txt', () => {
  it('of a lab', () => {
    const text = sample('docker.socket-mounts', 'lab');
    const { mounts, processes, looked, selinuxEnforcing } = parse('dockerSocketMounts', text);
    expect(mounts.map((m) => [m.line, m.pid, m.readOnly, m.at, m.socket, m.same, m.host])).toEqual([
      [2, 228, false, '/var/run/docker.sock', '/var/run/docker.sock', true, '/run/docker.sock'],
      [4, 290, true, '/host/run', '/host/run/docker.sock', true, '/run/docker.sock'],
      [6, 352, false, '/rootfs/run', '/rootfs/run/docker.sock', true, '/run/docker.sock'],
      [8, 416, false, '/rootfs/run', '/rootfs/run/docker.sock', true, '/run/docker.sock'],
      // not compared: a name that no shell should see
      [10, 478, false, "/o'; touch HACK; x y", "/o'; touch HACK; x y/docker.sock", undefined, '/run/docker.sock'],
    ]);
    expect(lineOf(text, mounts[1]!.line)).toContain('at=/host/run');
    expect(processes[3]).toEqual({
      line: 9,
      container: mounts[3]!.container,
      pid: 416,
      name: 'sleep',
      uid: 1000,
      gid: 0,
      groups: [0, 105],
      caps: '0000000000000000',
      hostUsers: true,
    });
    expect(looked).toEqual({ line: 12, containers: 5, unread: 0 });
    expect(selinuxEnforcing).toBeUndefined();
  });

  it('user namespaces, labels, SELinux, processes that were not read', () => {
    const who = `container=${ID} pid=7 comm=a uid=100000 gid=1 groups=- caps=00000000a80425fb`;
    const { processes, selinuxEnforcing, looked } = parse(
      'dockerSocketMounts',
      `selinux enforce=1\nprocess ${who} userns=other label=system_u:system_r:container_t:s0:c1,c2\nprocess ${who} userns=- label=-\nlooked namespaces=3 containers=1 unread=2\n`,
    );
    expect(processes).toMatchObject([
      { groups: [], hostUsers: false, label: 'system_u:system_r:container_t:s0:c1,c2' },
      { uid: 100000 },
    ]);
    expect(processes[1]).not.toHaveProperty('hostUsers');
    expect(processes[1]).not.toHaveProperty('label');
    expect(selinuxEnforcing).toEqual({ line: 1, value: true });
    expect(looked).toEqual({ line: 4, containers: 1, unread: 2 });
  });

  it('leaves out no line silently', () => {
    const mount = `mount container=${ID} pid=7 mode=rw at=/s socket=/s same=yes host=/run/docker.sock`;
    parse(
      'dockerSocketMounts',
      `${mount}\n${mount.replace(ID, 'x')}\n${mount.replace('/s ', 's ')}\nprocess container=${ID} pid=7 uid=0 gid=0 groups=a caps=0\nlooked\nelse\n`,
      [2, 3, 4, 5, 6],
    );
    expect(parserOf('dockerSocketMounts').parse('awk: syntax error')).toMatchObject({ ok: false });
    expect(parse('dockerSocketMounts', '').mounts).toEqual([]);
  });
});
