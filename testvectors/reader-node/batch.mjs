#!/usr/bin/env node
// Judges many inputs: one JSON object a line on stdin, one verdict a line on stdout, in order.
//   {"kind":"block","trust":"<text of a trust file>","at":"2026-06-01T12:00:00Z","inputBase64":"…"}
// For other programs, to hold their verdict against this reader's.
import { createInterface } from 'node:readline';
import { judgeBundle } from './evidence.mjs';
import { judge } from './judge.mjs';
import { loadTrust } from './trust.mjs';

const expects = { VALID: 'valid', 'VALID AT SIGNING TIME': 'validAtSigningTime', INDETERMINATE: 'indeterminate', INVALID: 'invalid' };

function verdict(v, bytes, trust) {
  if (v.kind !== 'bundle') return judge(v.kind, bytes, { ...v, trust });
  const { verdict: said, code, place, state, detail } = judgeBundle(bytes, trust, BigInt(Date.parse(v.at)) * 1000000n);
  return { expect: expects[said], reason: code, ...place, state, detail };
}

const trusts = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const v = JSON.parse(line);
  if (v.trust !== undefined && !trusts.has(v.trust)) trusts.set(v.trust, loadTrust(v.trust));
  console.log(JSON.stringify(verdict(v, Buffer.from(v.inputBase64, 'base64'), trusts.get(v.trust))));
}
