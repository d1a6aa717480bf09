import type { ReachJson } from '../core/trace.ts';
import { caseFlag, EXIT, ifFlag, NetcaseCommand, outputFlag, textOrJsonFlag } from './base.ts';

export class Reach extends NetcaseCommand {
  static override id = 'reach';
  static override summary = 'Follow a packet between the pods of every ordered pair of nodes.';
  static override description =
    'One pod stands for each node; pairs that behave alike are folded, the worst first. Exit code 0: every pair is delivered and answered; 1: some are not; 4: some are not decided by the evidence, or there is no pair.';
  static override examples = [
    '<%= config.bin %> reach --case acme.netcase',
    '<%= config.bin %> reach --case acme.netcase --format json -o reach.json',
  ];
  static override flags = {
    case: caseFlag,
    if: ifFlag,
    format: textOrJsonFlag,
    output: outputFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Reach);
    const { reachCase } = await import('../cases/reach.ts');
    const result = await reachCase(flags.case, flags.if ?? []);
    await this.writeResult(flags, result, async () => (await import('../report/reach-text.ts')).reachText(result));
    const code = codeOf(result);
    if (code !== EXIT.clean) this.exit(code);
  }
}

function codeOf({ groups }: ReachJson): number {
  if (groups.some((g) => g.verdict === 'dropped' || g.verdict === 'rejected')) return EXIT.findings;
  return groups.length === 0 || groups.some((g) => g.verdict === 'unknown') ? EXIT.incomplete : EXIT.clean;
}
