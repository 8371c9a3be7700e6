/** A signing key inside a token: one thing at a time, a lost session opened again once, a refused PIN never repeated. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { custodyError, isSessionLost, loadPkcs11 } from './pkcs11-module.ts';
import { closeSession } from './pkcs11-session.ts';
import { closed } from './private-key.ts';
import type { SigningKey } from './signing-key.ts';
import { type Held, openHeld, type Pkcs11KeyPlace } from './token-key-handle.ts';
import { signIn } from './token-signature.ts';

/** Owns a session. A session does one thing at a time, so signatures wait for each other. */
export class KeyInToken implements SigningKey {
  readonly name: string;
  readonly use: KeyUse;
  readonly custody = 'pkcs11';
  readonly public: AnyKey;
  private readonly place: Pkcs11KeyPlace;
  private held: Held | null;
  private isClosed = false;
  /** A refused PIN is not sent again: the token would lock itself. */
  private refusal: LockstepError | null = null;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(place: Pkcs11KeyPlace, held: Held) {
    this.name = place.name;
    this.use = place.use;
    this.public = held.public;
    this.place = place;
    this.held = held;
  }

  sign(message: Uint8Array): Promise<Uint8Array> {
    const signature = this.queue.then(() => this.signNext(message));
    this.queue = signature.catch(() => undefined);
    return signature;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.queue;
    this.letGo();
  }

  /** A lost session is opened again once for a signature; what is lost twice is broken. */
  private async signNext(message: Uint8Array): Promise<Uint8Array> {
    const held = await this.reopened();
    try {
      return await signIn(held, message);
    } catch (error) {
      if (!isSessionLost(held.session.module, error)) throw this.failed(held, error);
      this.letGo();
    }
    const again = await this.reopened();
    try {
      return await signIn(again, message);
    } catch (error) {
      throw this.failed(again, error);
    }
  }

  private async reopened(): Promise<Held> {
    if (this.isClosed && this.held === null) throw closed(this.name);
    if (this.refusal !== null) throw this.refusal;
    if (this.held !== null && this.held.session.start === this.held.session.module.starts) return this.held;
    try {
      this.held = await this.openAgain();
      return this.held;
    } catch (error) {
      this.held = null;
      if (error instanceof LockstepError && error.code === 'PASSPHRASE_WRONG') this.refusal = error;
      throw error;
    }
  }

  private async openAgain(): Promise<Held> {
    try {
      return await openHeld(this.place, this.public);
    } catch (error) {
      // What the library itself could not do, a fresh start of it may.
      const isPinOrKey = error instanceof LockstepError && error.code !== 'CUSTODY_FAILED';
      if (isPinOrKey || !(await loadPkcs11(this.place.module)).restart()) throw error;
      return await openHeld(this.place, this.public);
    }
  }

  /** After a failure the state of the session is unknown: the next signature begins with another. */
  private failed(held: Held, error: unknown): LockstepError {
    // A module that hangs would hang us too when it is asked to close: that session is left to itself.
    if (error instanceof LockstepError && error.code === 'CUSTODY_FAILED') this.held = null;
    else this.letGo();
    return custodyError(held.session.module, error);
  }

  private letGo(): void {
    if (this.held !== null) closeSession(this.held.session);
    this.held = null;
  }
}
