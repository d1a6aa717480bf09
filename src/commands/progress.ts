/** Progress of long work on stderr: a moving line on a terminal, one line per 10 % elsewhere, nothing with --quiet. */
export class Progress {
  private readonly total: number;
  private readonly what: string;
  private readonly mode: 'live' | 'lines' | 'off';
  private done = 0;
  private shown = -1;

  constructor(what: string, total: number, quiet: boolean) {
    this.what = what;
    this.total = total;
    // short work needs no lines in a log
    this.mode =
      quiet || total < 4
        ? 'off'
        : process.stderr.isTTY && process.env['TERM'] !== 'dumb'
          ? 'live'
          : total < 20
            ? 'off'
            : 'lines';
  }

  step(): void {
    this.done += 1;
    if (this.mode === 'off') return;
    const tenth = Math.floor((this.done * 10) / this.total);
    if (this.mode === 'live') process.stderr.write(`\r\u001b[K${this.what} ${this.done}/${this.total}`);
    else if (tenth !== this.shown) process.stderr.write(`${this.what} ${this.done}/${this.total}\n`);
    this.shown = tenth;
  }

  end(): void {
    if (this.mode === 'live') process.stderr.write('\r\u001b[K');
  }
}
