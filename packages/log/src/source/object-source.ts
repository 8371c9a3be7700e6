/** Reads a log's public files from where its sequencer puts them, on a bucket or a folder of objects. */
import type { Objects } from '@lockstep/store/objects/objects';
import type { LogSource } from './log-source.ts';

export function objectSource(objects: Objects, prefix: string): LogSource {
  return {
    name: `${objects.name}, ${prefix}`,
    read: (path, maxBytes) => objects.get(`${prefix}/${path}`, maxBytes),
  };
}
