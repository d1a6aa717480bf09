import { COMMANDS } from './commands/index.ts';

/** What bin/ takes from the built program. */
export { threadUse } from './cases/thread-use.ts';
export { main } from './main.ts';

/** The command that is asked for, else all: oclif describes and sorts what it is given before it runs anything. */
export const commandsFor = (id: string | undefined): Partial<typeof COMMANDS> =>
  id !== undefined && Object.hasOwn(COMMANDS, id) ? { [id]: COMMANDS[id as keyof typeof COMMANDS] } : COMMANDS;

export const workers = {
  ingest: () => import('./cases/worker.ts'),
  reach: () => import('./cases/reach-worker.ts'),
};
