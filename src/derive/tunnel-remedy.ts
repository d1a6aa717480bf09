import { shellWord } from '../core/shell.ts';
import type { Source } from './devices.ts';
import { restartFlannel } from './flannel-remedy.ts';
import type { Step } from './step.ts';

/** flannel's overlay device is made anew with the MTU that flannel has now. */
export function remakeFlannelDevice(
  source: Source<'k3sArgs'>,
  node: string,
  device: string,
  said: Pick<Step, 'step' | 'verify' | 'undo'>,
): Step {
  return {
    ...said,
    run: `ip link del ${shellWord(device)}; ${restartFlannel(node, source.get('k3sArgs'))}`,
    risk: 'The node is without its overlay until flannel has started again: see that the second command finds it.',
  };
}
