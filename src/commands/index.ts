import { Accept } from './accept.ts';
import { Analyze } from './analyze.ts';
import { Audit } from './audit.ts';
import { Diff } from './diff.ts';
import { Ingest } from './ingest.ts';
import { Query, Replay, Verify } from './integrity.ts';
import { Coverage, Findings, History, Nodes } from './listings.ts';
import { Reach } from './reach.ts';
import { Report } from './report.ts';
import { Explain, Rules } from './rules.ts';
import { Trace } from './trace.ts';
import { Why } from './why.ts';

/** Command id -> class; oclif reads this (package.json, oclif.commands). What a command works with it imports when it runs. */
export const COMMANDS = {
  accept: Accept,
  analyze: Analyze,
  audit: Audit,
  coverage: Coverage,
  diff: Diff,
  explain: Explain,
  findings: Findings,
  history: History,
  ingest: Ingest,
  nodes: Nodes,
  query: Query,
  reach: Reach,
  replay: Replay,
  report: Report,
  rules: Rules,
  trace: Trace,
  verify: Verify,
  why: Why,
};
