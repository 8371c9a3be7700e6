/** Options that every verb has. */
import { Option } from 'commander';

export const json = (): Option => new Option('--json', 'print one JSON document with the result');
export const quiet = (): Option => new Option('-q, --quiet', 'no progress');
export const offline = (): Option => new Option('--offline', 'use the content store only, never the network');
