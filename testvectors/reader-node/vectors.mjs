#!/usr/bin/env node
// Reads every test vector and compares: node testvectors/reader-node/vectors.mjs
// Exit 0: all agree. Exit 1: some do not, each printed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { judgeArchive } from './archive.mjs';
import { Certificate } from './certificates.mjs';
import { judgeBundle } from './evidence.mjs';
import { judge } from './judge.mjs';
import { parse } from './json.mjs';
import { inWords, readAnswer } from './ocsp.mjs';
import { Receiver } from './receiver.mjs';
import { loadTrust } from './trust.mjs';

const data = fileURLToPath(new URL('../testdata/', import.meta.url));
const families = ['json', 'canonical', 'signed', 'envelope', 'chain', 'ca', 'receipt'];

// input: the bytes of the vector. Where it is a JSON value, any text of it serves, and the
// text in the file is one: it is cut out, since JSON.parse would change its numbers.
function input(v, text) {
  if (v.inputText !== undefined) return Buffer.from(v.inputText);
  if (v.inputBase64 !== undefined) return Buffer.from(v.inputBase64, 'base64');
  const o = parse(text, 200).get('input');
  return Buffer.from(text.slice(o.start, o.end));
}

const trusts = new Map();
function trust(name) {
  if (!trusts.has(name)) trusts.set(name, loadTrust(readFileSync(join(data, 'trust', `${name}.json`), 'utf8')));
  return trusts.get(name);
}

// compare names the members that differ. The place of what is malformed is advice.
function compare(v, got) {
  const differs = ['expect', 'reason', 'law'].filter((m) => v[m] !== got[m]);
  if (v.code !== undefined && v.code !== got.code) differs.push('code');
  if (v.expect !== 'malformed') for (const m of ['entry', 'transaction']) if (v[m] !== got[m]) differs.push(m);
  if (v.canonical !== undefined && v.canonical !== got.canonical) differs.push('canonical');
  for (const [m, want] of Object.entries(v.state ?? {})) if (got.state?.[m] !== want) differs.push(`state.${m}`);
  return differs;
}

let count = 0;
let wrong = 0;
for (const family of families) {
  for (const file of readdirSync(join(data, family)).sort()) {
    const text = readFileSync(join(data, family, file), 'utf8');
    const v = JSON.parse(text);
    const got = judge(v.kind, input(v, text), { ...v, trust: v.trust && trust(v.trust) });
    const differs = compare(v, got);
    count++;
    if (differs.length === 0) continue;
    wrong++;
    const { expect, reason, law, code, entry, transaction, state } = v;
    console.log(`${family}/${file} (${v.spec}: ${v.comment}): differs in ${differs.join(', ')}`);
    console.log(`  want ${JSON.stringify({ expect, reason, law, code, entry, transaction, state })}`);
    console.log(`  got  ${JSON.stringify(got)}`);
  }
}
// Bundles have verdicts of their own, and a place by name.
const verdicts = { VALID: 'valid', 'VALID AT SIGNING TIME': 'validAtSigningTime', INDETERMINATE: 'indeterminate', INVALID: 'invalid' };
for (const file of readdirSync(join(data, 'bundle')).sort()) {
  const text = readFileSync(join(data, 'bundle', file), 'utf8');
  const v = JSON.parse(text);
  const got = judgeBundle(input(v, text), trust(v.trust), BigInt(Date.parse(v.at)) * 1000000n, () => v.seconds === 0);
  const want = { expect: v.expect, reason: v.reason, ...v.place, ...v.state };
  const have = { expect: verdicts[got.verdict], reason: got.code, ...got.place, ...got.state };
  if (got.code?.startsWith('malformed/')) for (const m of Object.keys(v.place ?? {})) delete want[m];
  const differs = [...new Set([...Object.keys(want), ...Object.keys(have)])].filter((m) => want[m] !== have[m]);
  count++;
  if (differs.length === 0) continue;
  wrong++;
  console.log(`bundle/${file} (${v.comment}): differs in ${differs.join(', ')}`);
  console.log(`  want ${JSON.stringify(want)}`);
  console.log(`  got  ${JSON.stringify(have)} ${got.detail ?? ''}`);
}
// Folders of archives: all that is found in each.
for (const file of readdirSync(join(data, 'archive')).sort()) {
  const v = JSON.parse(readFileSync(join(data, 'archive', file), 'utf8'));
  const got = judgeArchive(new Map(Object.entries(v.files)), trust(v.trust), BigInt(Date.parse(v.at)) * 1000000n, v.root);
  count++;
  if (verdicts[got.verdict] === v.expect && JSON.stringify(got.rules) === JSON.stringify(v.rules)) continue;
  wrong++;
  console.log(`archive/${file} (${v.comment}): want ${v.expect} ${v.rules}, got ${got.verdict} ${got.rules}`);
}
// Answers of OCSP responders.
for (const file of readdirSync(join(data, 'ocsp')).sort()) {
  const v = JSON.parse(readFileSync(join(data, 'ocsp', file), 'utf8'));
  const der = (text) => Buffer.from(text, 'base64');
  const got = readAnswer(der(v.inputBase64), new Certificate(der(v.certificate)), new Certificate(der(v.issuer)), Date.parse(v.at));
  count++;
  if (JSON.stringify(got && inWords(got)) === JSON.stringify(v.status)) continue;
  wrong++;
  console.log(`ocsp/${file} (${v.comment}): want ${JSON.stringify(v.status)}, got ${JSON.stringify(got && inWords(got))}`);
}
// Exchanges: every answer, and what the receiver knows at the end.
for (const file of readdirSync(join(data, 'exchange')).sort()) {
  const text = readFileSync(join(data, 'exchange', file), 'utf8');
  const v = JSON.parse(text);
  const blocks = parse(text, 200).get('before') ?? [];
  const before = (v.before ?? []).map((b, i) => {
    const o = blocks[i].get('input');
    return { ...b, bytes: Buffer.from(text.slice(o.start, o.end)) };
  });
  const r = new Receiver({ before, domain: v.receiver, users: v.users, settings: v.settings, trust: trust(v.trust), now: BigInt(Date.parse(v.at)) * 1000000n });
  const raw = parse(text, 200).get('requests');
  const answers = [];
  const differs = [];
  v.requests.forEach((q, i) => {
    const o = raw[i].get('input');
    const bytes = o ? Buffer.from(text.slice(o.start, o.end)) : Buffer.from(q.inputText ?? '');
    const got = r.put({ ...q, bytes });
    answers.push(got);
    const { sameAs, ...want } = q.answer;
    if (JSON.stringify(Object.entries(want).sort()) !== JSON.stringify(Object.entries(got).sort())) differs.push(`request ${i}: want ${JSON.stringify(want)}, got ${JSON.stringify(got)}`);
    if (sameAs !== undefined && got !== answers[sameAs]) differs.push(`request ${i}: not the answer of request ${sameAs}`);
  });
  if (JSON.stringify(r.held()) !== JSON.stringify(v.bills)) differs.push(`bills: want ${JSON.stringify(v.bills)}, got ${JSON.stringify(r.held())}`);
  count++;
  if (differs.length === 0) continue;
  wrong++;
  console.log(`exchange/${file} (${v.comment}):\n  ${differs.join('\n  ')}`);
}
console.log(`${count} vectors read, ${wrong} disagreements`);
process.exit(wrong === 0 ? 0 : 1);
