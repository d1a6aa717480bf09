import { Flags } from '@oclif/core';
import { caseFlag, EXIT, ifFlag, NetcaseCommand, outputFlag, textOrJsonFlag } from './base.ts';

const CODE = {
  delivered: EXIT.clean,
  dropped: EXIT.findings,
  rejected: EXIT.findings,
  unknown: EXIT.incomplete,
} as const;

export class Trace extends NetcaseCommand {
  static override id = 'trace';
  static override summary = 'Follow one packet and its answer through the collected nodes.';
  static override description =
    'PLACE: a node (its host), an IP address of a pod, container or host, or NODE/CONTAINER. TARGET: IP, IP:PORT, NODE:PORT or NODE/CONTAINER. Exit code 0: delivered and answered; 1: dropped or rejected, or the answer is; 4: the evidence does not decide it.';
  static override examples = [
    '<%= config.bin %> trace --case acme.netcase --from 10.244.1.10 --to 10.244.2.10:80',
    '<%= config.bin %> trace --case acme.netcase --from node-a --to 10.96.0.1:443 --format json',
    '<%= config.bin %> trace --case acme.netcase --from 10.244.1.10 --to 10.244.2.10 --proto icmp --if "iptables -I FORWARD -j ACCEPT @node-b"',
  ];
  static override flags = {
    case: caseFlag,
    from: Flags.string({ required: true, description: 'where the packet starts', helpValue: 'PLACE' }),
    to: Flags.string({ required: true, description: 'where it is sent', helpValue: 'TARGET' }),
    proto: Flags.option({
      options: ['tcp', 'udp', 'icmp'] as const,
      description: 'protocol; tcp with a port, else icmp',
    })(),
    port: Flags.integer({ min: 1, max: 65535, description: 'destination port, when TARGET has none' }),
    size: Flags.integer({ min: 0, max: 65507, description: 'payload bytes' }),
    df: Flags.boolean({ description: 'do not fragment' }),
    if: ifFlag,
    format: textOrJsonFlag,
    output: outputFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Trace);
    const { traceCase } = await import('../cases/trace.ts');
    const hasPort = flags.port !== undefined || /[^:]:\d+$|\]:\d+$/.test(flags.to);
    const result = traceCase({
      caseFile: flags.case,
      from: flags.from,
      to: flags.to,
      proto: flags.proto ?? (hasPort ? 'tcp' : 'icmp'),
      port: flags.port,
      size: flags.size,
      df: flags.df ? true : undefined,
      changes: flags.if ?? [],
    });
    await this.writeResult(flags, result, async () => (await import('../report/path-text.ts')).traceText(result));
    const code = CODE[result.verdict];
    const answer = result.reply === null ? EXIT.clean : CODE[result.reply.verdict];
    if (code !== EXIT.clean || answer !== EXIT.clean) this.exit(code === EXIT.clean ? answer : code);
  }
}
