/** Where a program of the host lies. */
import { accessSync, constants } from 'node:fs';

export function findOnPath(name: string): string | null {
  const own = (process.env['PATH'] ?? '').split(':').filter((folder) => folder.startsWith('/') && !folder.includes('/node_modules/'));
  for (const folder of ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin', ...own]) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return `${folder}/${name}`;
    } catch {
      // not here: the next folder
    }
  }
  return null;
}
