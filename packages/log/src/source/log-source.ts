/** Reads a log's public files from a folder or over HTTP. Everything read is foreign: bounded here, checked by whoever asks. */
import { existsSync, type Stats, statSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { readIfPresent } from '../files/log-files.ts';

export interface LogSource {
  /** How a person would name it. */
  readonly name: string;
  /** null when there is no such file. @throws LockstepError FETCH_FAILED, FETCH_TOO_LARGE */
  read(path: string, maxBytes: number): Promise<Uint8Array | null>;
}

/** A tile of 256 hashes. */
export const MAX_TILE_BYTES = 8192;
/** 256 entries of 65,535 bytes, each with its length. */
export const MAX_BUNDLE_BYTES = 256 * 65_537;
export const MAX_CHECKPOINT_BYTES = 1_000_000;
/** So that its bundle, in base64, is one that `verify` takes. */
export const MAX_STATEMENT_BYTES = 32 << 20;

const TIMEOUT = 30_000;

/** @param where a folder, or an http(s) address */
export function logSource(where: string): LogSource {
  if (/^https?:\/\//.test(where)) return httpSource(where);
  const root = existsSync(`${where}/public/checkpoint`) ? `${where}/public` : where;
  if (!existsSync(root) || !statSync(root).isDirectory())
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `${where} is no log: there is no such folder`,
      'Give the folder or the http(s) address of a log.',
    );
  return folderSource(root, where);
}

export function folderSource(root: string, name = root): LogSource {
  return {
    name,
    read(path, maxBytes) {
      const stat = statOf(`${root}/${path}`);
      if (stat === null || stat.isDirectory()) return Promise.resolve(null);
      if (!stat.isFile()) throw failed(`${name}/${path}`, 'it is no file');
      if (stat.size > maxBytes) throw tooLarge(`${name}/${path}`, maxBytes);
      return Promise.resolve(readIfPresent(`${root}/${path}`));
    },
  };
}

/** A folder from somewhere else may hold links in a circle, pipes and devices. */
function statOf(path: string): Stats | null {
  try {
    return statSync(path, { throwIfNoEntry: false }) ?? null;
  } catch (error) {
    throw failed(path, error instanceof Error ? error.message : String(error));
  }
}

function httpSource(address: string): LogSource {
  const prefix = address.replace(/\/+$/, '');
  return {
    name: prefix,
    async read(path, maxBytes) {
      const url = `${prefix}/${path}`;
      try {
        const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT) });
        if (response.status === 404 || response.status === 410) {
          await response.body?.cancel();
          return null;
        }
        if (!response.ok) throw failed(url, `status ${response.status}`);
        return await readBody(response, maxBytes, url);
      } catch (error) {
        if (error instanceof LockstepError) throw error;
        throw failed(
          url,
          error instanceof Error ? `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ''}` : String(error),
        );
      }
    },
  };
}

async function readBody(response: Response, maxBytes: number, url: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > maxBytes) throw tooLarge(url, maxBytes);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function failed(url: string, why: string): LockstepError {
  return new LockstepError('FETCH_FAILED', `${url}: ${why}`, 'Check the address; the log’s operator can say whether it moved.');
}

function tooLarge(name: string, maxBytes: number): LockstepError {
  return new LockstepError('FETCH_TOO_LARGE', `${name} is larger than ${maxBytes} bytes`, 'No file of a log of this kind is that large.');
}
