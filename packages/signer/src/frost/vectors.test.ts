/** noble, and what is computed here beside it, against RFC 9591 appendix E.1 and the DKG vector of another implementation. */
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { test } from 'node:test';
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { fromHex, toHex } from '@lockstep/protocol/bytes/hex';
import { ed25519Key } from '@lockstep/protocol/key/any-key';
import { verifyingShare } from './point.ts';
import { knowsSecret } from './proof-of-knowledge.ts';

const hex = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(fromHex(text, text.length / 2)!);
const id = (number: number): string => ed25519_FROST.Identifier.fromNumber(number);

/** RFC 9591 appendix E.1, FROST(Ed25519, SHA-512): 2 of 3, signers 1 and 3, the message "test". */
const RFC = {
  secret: '7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304',
  publicKey: '15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673',
  coefficient: '178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204',
  shares: [
    '929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509',
    'a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d',
    'd3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02',
  ],
  signers: [
    {
      number: 1,
      random: [
        '0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec',
        '69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501',
      ],
      share: '001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603',
    },
    {
      number: 3,
      random: [
        '86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f',
        '13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775',
      ],
      share: 'bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007',
    },
  ],
  signature:
    '36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbebd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b',
};

test('noble makes the shares and the signature of RFC 9591 appendix E.1', () => {
  const { Fn } = ed25519_FROST.utils;
  const signers = { min: 2, max: 3 };
  const made = ed25519_FROST.utils.generateSecretPolynomial(signers, hex(RFC.secret), [Fn.fromBytes(hex(RFC.coefficient))]);
  assert.equal(toHex(made.commitment[0]!), RFC.publicKey);
  const verifyingShares = Object.fromEntries(
    [1, 2, 3].map((number) => [id(number), Uint8Array.from(verifyingShare(made.commitment, number)!)]),
  );
  const group = { signers, commitments: made.commitment, verifyingShares };
  for (const [index, share] of RFC.shares.entries())
    ed25519_FROST.validateSecret({ identifier: id(index + 1), signingShare: hex(share) }, group);

  const message = Buffer.from('test');
  const held = RFC.signers.map(({ number, random }) => {
    const secret = { identifier: id(number), signingShare: hex(RFC.shares[number - 1]!) };
    const draws = [...random];
    return { secret, ...ed25519_FROST.commit(secret, () => hex(draws.shift()!)) };
  });
  const list = held.map((one) => one.commitments);
  const shares = held.map(({ secret, nonces }) => ed25519_FROST.signShare(secret, group, nonces, list, message));
  assert.deepEqual(
    shares.map((one) => toHex(one)),
    RFC.signers.map((one) => one.share),
  );
  const byId = Object.fromEntries(held.map(({ secret }, index) => [secret.identifier, shares[index]!]));
  const signature = ed25519_FROST.aggregate(group, list, message, byId);
  assert.equal(toHex(signature), RFC.signature);
  const spki = createPublicKey({ key: Buffer.from(ed25519Key(hex(RFC.publicKey)).spki), format: 'der', type: 'spki' });
  assert.equal(verify(null, message, spki, signature), true);
});

/** vectors_dkg.json of the Zcash Foundation's frost-ed25519: 2 of 3, as the first participant ends it. */
const ZCASH = {
  publicKey: '3d9a67b93cec3acad2d32349cf7bdffaa23ae031a81174ddadae1c96bb455f4d',
  share: '2afd4ef9a27f9e636dd627ae56772951b98f929ebaa13b11ede611e82e9baf08',
  participants: [
    {
      commitment: [
        'db67948a73033b0c886ed757d97352428df05ad5803aff256bc388c9a0772bfe',
        '6a25b55a80a287826fbc3ef4d978d15f98f4f573f4d96e798a970780c644f14c',
      ],
      proof:
        '64c41c1d0417aef33576c23a5150de2921d6249d7086b10012f942405fc08ed51a872dd021db2ac01e9f4182e950324c5f563421bd835f3f514a60c975cab70c',
      verifyingShare: 'f6b5e87c902796d8dab6369cbd6d342a32e46c136e9f1f5af2fc385aed804de3',
    },
    {
      commitment: [
        '17194e192408980956a9cfc388d38456b2e9619c42a57196facd7feaf980a3bd',
        '0b560ce2f1130dc7066fc47f6e3f1858ef553faf6bbc19d3cd2a502052f95ae5',
      ],
      proof:
        '4062dc7fc11144e636f4eddd7f2d8d3e02761671ae913674314a12b91f50bf98e9c410d651c45c3a1766c88524fccb7670de191e12686324c59333e74fc93402',
      verifyingShare: 'f326b756ed38b43a94bdac698e044d9e3f3a08a40e7c9d2e5346dd5bfaadf2f5',
    },
    {
      commitment: [
        '0e9c22b9edbcd06757eee5ba3cfeb74e4fa6470932aa1ab689c86f1fe3dde70c',
        '0ae6e3e6ff1d612adb5cabb425ee51f2be9952467ce9b6d83095322909a42dd7',
      ],
      proof:
        '37df5a836ceaaf9f5e3b9ae6a485bad5c15788f3883386fe43f2921bbe2cb987d23683ca18973065a00d69bbf74f7961889b820e64f98878df7844a4e4785907',
      verifyingShare: '6bc91a2755902d955ce220ad0df6fbf57162260949d40bcf5a69cfffec9c085a',
    },
  ],
};

test('knowsSecret accepts the proofs of another implementation, each for its own participant only', () => {
  for (const [index, { commitment, proof }] of ZCASH.participants.entries()) {
    assert.equal(knowsSecret(id(index + 1), hex(commitment[0]!), hex(proof)), true);
    assert.equal(knowsSecret(id(index + 2), hex(commitment[0]!), hex(proof)), false);
    assert.equal(knowsSecret(id(index + 1), hex(commitment[1]!), hex(proof)), false);
    const changed = hex(proof);
    changed[63]! ^= 1;
    assert.equal(knowsSecret(id(index + 1), hex(commitment[0]!), changed), false);
  }
});

test('verifyingShare gives the shares of the summed commitments of another implementation', () => {
  const sum = [0, 1].map((at) =>
    ZCASH.participants.reduce((all, one) => all.add(ed25519.Point.fromHex(one.commitment[at]!)), ed25519.Point.ZERO).toBytes(),
  );
  assert.equal(toHex(sum[0]!), ZCASH.publicKey);
  for (const [index, one] of ZCASH.participants.entries()) assert.equal(toHex(verifyingShare(sum, index + 1)!), one.verifyingShare);
  ed25519_FROST.validateSecret(
    { identifier: id(1), signingShare: hex(ZCASH.share) },
    { signers: { min: 2, max: 3 }, commitments: sum.map((point) => Uint8Array.from(point)), verifyingShares: {} },
  );
});
