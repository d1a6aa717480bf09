import type { JsonSettings } from '../facts/index.ts';
import type { At, Fault } from './daemon-json.ts';
import { NEWEST_KNOWN } from './daemon-json-keys.ts';
import { SIZE } from './daemon-json-values.ts';
import { setting } from './settings.ts';

const COMMON = 'mode max-buffer-size cache-disabled cache-max-file cache-max-size cache-compress';
const ATTRIBUTES = 'env env-regex labels labels-regex tag';

/** Options of the log drivers that are part of dockerd and whose list is short: any other is refused. */
const LOG_OPTIONS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['json-file', new Set(`${COMMON} ${ATTRIBUTES} max-size max-file compress`.split(' '))],
  ['journald', new Set(`${COMMON} ${ATTRIBUTES}`.split(' '))],
  ['local', new Set(`${COMMON} max-size max-file compress`.split(' '))],
]);

/** Drivers with long lists, none of which has the options of a file. */
const WITHOUT_FILE = /^(syslog|fluentd|gelf|awslogs|splunk|gcplogs)$/;
const OF_FILE = /^(max-size|max-file|compress)$/;

/** Options that the log driver does not have, or values that no driver takes; measured on dockerd 20.10.24. `given`: --log-driver. */
export function daemonJsonLogFaults(value: JsonSettings, at: At, major: number | null, given?: string): Fault[] {
  const written = setting(value, 'log-driver');
  const driver = `${written?.value || given || 'json-file'}`;
  if (driver === 'none') return [];
  const known = LOG_OPTIONS.get(driver);
  const sure = major !== null && major <= NEWEST_KNOWN;
  const faults = value.settings.flatMap((s): Fault[] => {
    const option = /^log-opts\.([^.]+)$/.exec(s.path)?.[1];
    if (option === undefined || (known?.has(option) ?? !(WITHOUT_FILE.test(driver) && OF_FILE.test(option)))) return [];
    const place = written === undefined ? at(s) : at(s, written);
    const reason = `log driver ${driver} has no option "${option}"`;
    return [{ key: `log-opt ${option}`, reason, at: place, sure, ...(sure ? {} : { severity: 'medium' as const }) }];
  });
  const mode = setting(value, 'log-opts.mode');
  const buffer = setting(value, 'log-opts.max-buffer-size');
  const builtIn = known !== undefined || WITHOUT_FILE.test(driver);
  if (builtIn && typeof mode?.value === 'string' && !/^(|blocking|non-blocking)$/.test(mode.value))
    faults.push({ key: 'log-opt mode', reason: `there is no logging mode "${mode.value}"`, at: at(mode), sure: true });
  else if (builtIn && buffer?.type === 'string' && mode?.value !== 'non-blocking')
    faults.push({
      key: 'log-opt max-buffer-size',
      reason: '"max-buffer-size" goes only with "mode": "non-blocking"',
      at: at(buffer),
      sure: true,
    });
  else if (builtIn && typeof buffer?.value === 'string' && buffer.value !== '' && !SIZE.test(buffer.value))
    faults.push({
      key: 'log-opt max-buffer-size',
      reason: `"max-buffer-size" must not be "${buffer.value}"`,
      at: at(buffer),
      sure: true,
    });
  return faults;
}
