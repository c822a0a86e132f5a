#!/usr/bin/env node
// Spoils the bundles of a real run, so that a stranger has something to find:
//   eblnode demo --dir nodes --bundles evidence
//   node spoildemo.mjs --keys nodes evidence
// It writes the spoilt ones beside the others (spoilt-RULE-N.json), at most 5 a rule, and what each file must come to
// into expected.list, for eblverify --expect and verdict.mjs --expect.
import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { keysBelow, Spoilt } from './spoil.mjs';
import { cases } from './spoilcases.mjs';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { keys: { type: 'string' } } });
if (!values.keys || positionals.length !== 1) {
  console.error('usage: spoildemo.mjs --keys NODES EVIDENCE');
  process.exit(2);
}
const [dir] = positionals;
const keys = keysBelow(values.keys);
const stranger = { kid: 'stranger', key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey };
const kebab = (s) => s.replace(/[A-Z]/g, (m) => `-${m.toLowerCase()}`).replace('/', '-');
const cannotTell = /^(platformNotTrusted|unknownKey|keyCompromised|documentNeeded|contradicted|disputed|forked|revocationUnknown)/;

for (const f of readdirSync(dir)) if (f.startsWith('spoilt-')) rmSync(join(dir, f));
const expected = {};
const rules = new Map();
// The attacker of the demonstration had the carrier's key: what it signed is in the bank's file of the second bill.
const originals = readdirSync(dir).filter((f) => f.endsWith('.json')).sort();
const sound = [];
for (const file of originals) {
  const text = readFileSync(join(dir, file), 'utf8');
  const forked = (JSON.parse(text).branches ?? []).length > 0;
  expected[file] = forked ? { verdict: 'INDETERMINATE', rule: 'forked/signedTwice' } : { verdict: 'VALID' };
  if (forked) rules.set('forked/signedTwice', 1);
  else sound.push(text);
}
for (const { code, spoil, returned } of cases) {
  for (const text of sound) {
    const s = new Spoilt(text, keys, stranger);
    if (returned && !(s.file.verdict && s.file.chain.length > 2)) continue;
    const n = (rules.get(code) ?? 0) + 1;
    if (n > 5) break;
    const made = spoil(s);
    const name = `spoilt-${kebab(code)}-${n}.json`;
    writeFileSync(join(dir, name), made instanceof Spoilt ? made.text() : made);
    rules.set(code, n);
    expected[name] = { verdict: cannotTell.test(code) ? 'INDETERMINATE' : 'INVALID', rule: code };
  }
}
writeFileSync(join(dir, 'expected.list'), `${JSON.stringify({ files: expected }, null, 1)}\n`);
console.log(`${originals.length} bundles of the demonstration, ${Object.keys(expected).length - originals.length} spoilt ones, ${rules.size} rules`);
