#!/usr/bin/env node
// Checks bare signatures: {"alg":"ES256","pem":"…","message":"<base64>","signature":"<base64>"} a line on
// stdin, true or false a line on stdout. So that the vectors of others can be held against this reader.
import { createPublicKey } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fits, signatureHolds } from './jws.mjs';

for await (const line of createInterface({ input: process.stdin })) {
  const v = JSON.parse(line);
  const pub = createPublicKey(v.pem);
  const { kty, crv } = pub.export({ format: 'jwk' });
  const key = { kty, crv, public: pub };
  const jws = { header: { alg: v.alg }, signed: Buffer.from(v.message, 'base64'), signature: Buffer.from(v.signature, 'base64') };
  console.log(fits(key, v.alg) && signatureHolds(jws, key));
}
