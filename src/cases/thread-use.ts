/** Whether this run has work done by threads: then this thread runs, and leaves behind for the next run, other functions. */
export const threadUse = { any: false };
