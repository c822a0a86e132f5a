#!/usr/bin/env node
// Judges many inputs: one JSON object a line on stdin, one verdict a line on stdout, in order.
//   {"kind":"block","trust":"<text of a trust file>","at":"2026-06-01T12:00:00Z","inputBase64":"…"}
// For other programs, to hold their verdict against this reader's.
import { createInterface } from 'node:readline';
import { judge } from './judge.mjs';
import { loadTrust } from './trust.mjs';

const trusts = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const v = JSON.parse(line);
  if (v.trust !== undefined && !trusts.has(v.trust)) trusts.set(v.trust, loadTrust(v.trust));
  console.log(JSON.stringify(judge(v.kind, Buffer.from(v.inputBase64, 'base64'), { ...v, trust: trusts.get(v.trust) })));
}
