/** What bin/ takes from the built program. */
export { COMMANDS } from './commands/index.ts';
export { main } from './main.ts';

export const workers = {
  ingest: () => import('./cases/worker.ts'),
  reach: () => import('./cases/reach-worker.ts'),
};
