import type { Family } from '../core/address.ts';
import type { Routes } from '../facts/index.ts';
import { defineParser, type Parsed } from '../facts/parser.ts';
import { readRouteJson } from './routes-json.ts';
import { isMainTable, readMainTable } from './routes-main-table.ts';
import { readRouteText } from './routes-text.ts';

/** The form is told by the text: a collector without iproute2 puts `route -n` in the same place. */
const readRoutes =
  (family: Family) =>
  (text: string): Parsed<Routes> => {
    if (/^\s*\[/.test(text)) return readRouteJson(text, family);
    return family === 4 && isMainTable(text) ? readMainTable(text) : readRouteText(text, family);
  };

export const parsers = [
  defineParser({
    fact: 'routes4',
    evidence: ['ip.route4', 'ip.route4-json', 'proc.route'],
    version: 1,
    parse: readRoutes(4),
  }),
  defineParser({ fact: 'routes6', evidence: ['ip.route6', 'ip.route6-json'], version: 1, parse: readRoutes(6) }),
  defineParser({
    fact: 'netnsRoutes4',
    evidence: ['netns.route4', 'netns.route4-json'],
    version: 1,
    parse: readRoutes(4),
  }),
  defineParser({ fact: 'netnsRoutes6', evidence: ['netns.route6-json'], version: 1, parse: readRoutes(6) }),
];
