import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lineOf, parse, parserOf } from './firewall-docker-samples.ts';

const SAVED = `-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 192.168.50.11:6443 -m -w 1
-A -u 10.96.0.10:53 -s sh -p 10800 -b sh-port
-a -u 10.96.0.10:53 -r 10.244.0.2:53 -g -w 0
-A -t [fd00:96::10]:80 -s wrr
-a -t [fd00:96::10]:80 -r [fd00:1::11]:8080 -m -w 3
-A -f 5 -s wlc -6 -o
-a -f 5 -6 -r [fd00:1::11]:0 -i -w 1
-A --sctp-service 10.96.0.3:9 -s rr
`;
const PROC = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> C0A8320B:192B      Masq    1      3          0
UDP  0A60000A:0035 rr ops persistent 10800 FFFFFFFF
TCP  [fd00:0096:0000:0000:0000:0000:0000:0010]:0050 wrr
  -> [fd00:0001:0000:0000:0000:0000:0000:0011]:1F90      Masq    3      0          0
FWM  00000010 rr
  -> 0AF4010B:0000      Route   1      0          0
`;
const LIST = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:443 rr persistent 360 mask 255.255.255.0
  -> 192.168.50.11:6443           Masq    1      3          0
TCP  [fd00:0096:0001:0002:0003:0004:0005:0010]:8080 rr
  -> [fd00:1::11]:8080            Tunnel  1      0          0
FWM  12345678 IPv6 rr
`;

describe('ipvs', () => {
  it('reads ipvsadm -Sn', () => {
    const { services } = parse('ipvs', SAVED);
    expect(services.map((s) => [s.form, s.proto, s.address, s.port, s.mark, s.family, s.scheduler])).toEqual([
      ['save', 'tcp', '10.96.0.1', 443, undefined, 4, 'rr'],
      ['save', 'udp', '10.96.0.10', 53, undefined, 4, 'sh sh-port'],
      ['save', 'tcp', 'fd00:96::10', 80, undefined, 6, 'wrr'],
      ['save', null, undefined, undefined, 5, 6, 'wlc'],
      ['save', 'sctp', '10.96.0.3', 9, undefined, 4, 'rr'],
    ]);
    expect(services.map((s) => [s.persistent, s.onePacket])).toEqual([
      [false, false],
      [true, false],
      [false, false],
      [false, true],
      [false, false],
    ]);
    expect(services.map((s) => s.servers.map((r) => [r.address, r.port, r.mode, r.weight]))).toEqual([
      [['192.168.50.11', 6443, 'masq', 1]],
      [['10.244.0.2', 53, 'route', 0]],
      [['fd00:1::11', 8080, 'masq', 3]],
      [['fd00:1::11', 0, 'tunnel', 1]],
      [],
    ]);
    expect(lineOf(SAVED, services[2]!.servers[0]!.line)).toBe('-a -t [fd00:96::10]:80 -r [fd00:1::11]:8080 -m -w 3');
    expect([services[0]!.line, services[0]!.endLine]).toEqual([1, 2]);
  });

  it('reads the hexadecimal numbers of the kernel', () => {
    const { services } = parse('ipvs', PROC);
    expect(services.map((s) => [s.form, s.proto, s.address, s.port, s.mark, s.family])).toEqual([
      ['proc', 'tcp', '10.96.0.1', 443, undefined, 4],
      ['proc', 'udp', '10.96.0.10', 53, undefined, 4],
      ['proc', 'tcp', 'fd00:0096:0000:0000:0000:0000:0000:0010', 80, undefined, 6],
      ['proc', null, undefined, undefined, 16, null],
    ]);
    expect(services[1]).toMatchObject({ onePacket: true, persistent: true, servers: [] });
    expect(services[0]!.servers).toEqual([{ line: 5, address: '192.168.50.11', port: 6443, mode: 'masq', weight: 1 }]);
    expect(services[3]!.servers).toMatchObject([{ address: '10.244.1.11', port: 0, mode: 'route' }]);
  });

  it('reads ipvsadm -Ln, where the same digits are decimal', () => {
    const { services } = parse('ipvs', LIST);
    expect(services.map((s) => [s.form, s.address, s.port, s.mark, s.family])).toEqual([
      ['list', '10.96.0.1', 443, undefined, 4],
      ['list', 'fd00:0096:0001:0002:0003:0004:0005:0010', 8080, undefined, 6],
      ['list', undefined, undefined, 12345678, 6],
    ]);
    expect(services[1]!.servers).toMatchObject([{ address: 'fd00:1::11', port: 8080, mode: 'tunnel' }]);
  });

  it('reads both halves of the collected file', () => {
    const { services } = parse('ipvs', SAVED + PROC);
    expect(services.map((s) => s.form)).toEqual([
      'save',
      'save',
      'save',
      'save',
      'save',
      'proc',
      'proc',
      'proc',
      'proc',
    ]);
  });

  it('knows an empty table from another text', () => {
    expect(parse('ipvs', PROC.split('\n').slice(0, 3).join('\n')).services).toEqual([]);
    expect(parse('ipvs', '').services).toEqual([]);
    expect(parserOf('ipvs').parse('sh: ipvsadm: not found\n')).toEqual({
      ok: false,
      why: 'no output of ipvsadm and no ip_vs table',
    });
  });

  it.each([
    ['-A -t 10.96.0.1:443 -s rr --unheard-of\n'],
    ['-A -t 10.96.0.1:99999 -s rr\n'],
    ['-A -t 10.96.0.1:443\n'],
    ['-a -t 10.96.0.9:443 -r 10.0.0.1:1 -m -w 1\n'],
    ['-D -t 10.96.0.1:443\n'],
    ['TCP  10.96.0.1:443 rr odd flags\n'],
    ['ICMP 10.96.0.1:443 rr\n'],
    ['  -> 10.244.0.2:53 Masq 1 0 0\n'],
  ])('leaves no line out: %j', (line) => {
    parse('ipvs', `${SAVED}${line}`, [10]);
  });
});

const service = fc.record({
  proto: fc.constantFrom('tcp', 'udp', 'sctp' as const),
  six: fc.boolean(),
  host: fc.integer({ min: 1, max: 0xfffe }),
  port: fc.integer({ min: 0, max: 0xffff }),
  scheduler: fc.constantFrom('rr', 'wrr', 'lc', 'sh'),
  persistent: fc.boolean(),
  servers: fc.uniqueArray(fc.record({ host: fc.integer({ min: 1, max: 0xfffe }), weight: fc.nat(1000) }), {
    selector: (s) => s.host,
    maxLength: 4,
  }),
});
const FLAGS = { tcp: '-t', udp: '-u', sctp: '--sctp-service' };
const hex = (n: number, digits: number) => n.toString(16).padStart(digits, '0');
const upper = (n: number, digits: number) => hex(n, digits).toUpperCase();
const plain = (six: boolean, host: number) => (six ? `fd00::${hex(host, 1)}` : `10.96.${host >> 8}.${host & 255}`);
const whole = (host: number) => `fd00:0000:0000:0000:0000:0000:0000:${hex(host, 4)}`;

describe('ipvs, whatever the services', () => {
  it('says the same in all three forms', () => {
    const services = fc.uniqueArray(service, {
      selector: (s) => `${s.proto} ${s.six} ${s.host} ${s.port}`,
      maxLength: 6,
    });
    fc.assert(
      fc.property(services, (list) => {
        const at = (six: boolean, host: number, port: number) => {
          const text = plain(six, host);
          return six ? `[${text}]:${port}` : `${text}:${port}`;
        };
        const saved = list.map((s) => {
          const name = `${FLAGS[s.proto]} ${at(s.six, s.host, s.port)}`;
          const head = `-A ${name} -s ${s.scheduler}${s.persistent ? ' -p 360' : ''}\n`;
          return head + s.servers.map((r) => `-a ${name} -r ${at(s.six, r.host, s.port)} -m -w ${r.weight}\n`).join('');
        });
        const hexAt = (six: boolean, host: number, port: number) =>
          six ? `[${whole(host)}]:${upper(port, 4)}` : `0A60${upper(host, 4)}:${upper(port, 4)}`;
        const table = (head: string, address: typeof at, mask: string) =>
          `IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n${head}\n${list
            .map((s) => {
              const flags = s.persistent ? ` persistent 360${mask}` : ' ';
              const first = `${s.proto.toUpperCase()}  ${address(s.six, s.host, s.port)} ${s.scheduler}${flags}\n`;
              const below = s.servers.map(
                (r) => `  -> ${address(s.six, r.host, s.port)}      Masq    ${r.weight}      0          0\n`,
              );
              return first + below.join('');
            })
            .join('')}`;
        const proc = table('  -> RemoteAddress:Port Forward Weight ActiveConn InActConn', hexAt, ' FFFFFFFF');
        const shown = table('  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn', at, '');
        const same = (text: string) =>
          parse('ipvs', text).services.map((s) => ({
            ...s,
            form: '',
            line: 0,
            endLine: 0,
            address: s.address?.replace(/^(fd00:).*:0*([0-9a-f]+)$/, '$1:$2'),
            servers: s.servers.map((r) => ({
              ...r,
              line: 0,
              address: r.address.replace(/^(fd00:).*:0*([0-9a-f]+)$/, '$1:$2'),
            })),
          }));
        expect(same(proc)).toEqual(same(saved.join('')));
        expect(same(shown)).toEqual(same(saved.join('')));
      }),
      { numRuns: 100 },
    );
  });
});
