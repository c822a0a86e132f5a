#!/usr/bin/env node
// Reads every test vector and compares: node testvectors/reader-node/vectors.mjs
// Exit 0: all agree. Exit 1: some do not, each printed.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { judge } from './judge.mjs';
import { parse } from './json.mjs';
import { loadTrust } from './trust.mjs';

const data = fileURLToPath(new URL('../testdata/', import.meta.url));
const families = ['json', 'canonical', 'signed', 'envelope', 'chain', 'receipt'];

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
console.log(`${count} vectors read, ${wrong} disagreements`);
process.exit(wrong === 0 ? 0 : 1);
