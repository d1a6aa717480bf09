/** A step of a remedy, as rules give it (`Remediation`), with everything that makes it safe to paste. */
export interface Step {
  readonly step: string;
  readonly run: string;
  readonly verify: string;
  readonly undo: string;
  readonly risk: string;
}
