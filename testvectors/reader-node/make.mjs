#!/usr/bin/env node
// Writes this tool's half of the evidence bundles: testdata/bundle/node-*.json. Run twice it writes
// the same bytes; go generate ./testvectors runs it where there is Node 20.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Evidence } from './build.mjs';
import { cases } from './cases.mjs';
import { judgeBundle } from './evidence.mjs';
import { loadTrust } from './trust.mjs';

const data = fileURLToPath(new URL('../testdata/', import.meta.url));
const dir = `${data}bundle/`;

const cannotTell = /^(platformNotTrusted|unknownKey|keyCompromised|documentNeeded|contradicted|disputed|forked|revocationUnknown|timeLimit)/;
const good = { VALID: 'valid', 'VALID AT SIGNING TIME': 'validAtSigningTime' };

const kebab = (s) => s.replace(/[A-Z]+/g, (m) => `-${m.toLowerCase()}`).replace(/[^a-z0-9]+/g, '-').replace(/^-/, '');

mkdirSync(dir, { recursive: true });
for (const f of readdirSync(dir)) if (f.startsWith('node-')) rmSync(dir + f);
const numbers = new Map();
for (const c of cases) {
  const n = (numbers.get(c.code) ?? 0) + 1;
  numbers.set(c.code, n);
  const name = `node-${good[c.code] ? kebab(good[c.code]) : kebab(c.code)}-${n}`;
  const made = c.make();
  const bytes = made instanceof Evidence ? Buffer.from(made.text()) : Buffer.from(made);
  const text = bytes.toString();
  const v = {
    comment: c.comment,
    kind: 'bundle',
    maker: 'node',
    expect: good[c.code] ?? (cannotTell.test(c.code) ? 'indeterminate' : 'invalid'),
    reason: good[c.code] ? undefined : c.code,
    place: c.place && Object.keys(c.place).length ? c.place : undefined,
    at: c.at ?? '2026-06-01T12:00:00Z',
    trust: c.trust ?? 'base',
    seconds: c.seconds,
    ...(Buffer.from(text).equals(bytes) ? { inputText: text } : { inputBase64: bytes.toString('base64') }),
  };
  const trust = loadTrust(readFileSync(`${data}trust/${v.trust}.json`, 'utf8'));
  if (good[c.code]) v.state = judgeBundle(bytes, trust, BigInt(Date.parse(v.at)) * 1000000n).state;
  writeFileSync(`${dir}${name}.json`, `${JSON.stringify(v, null, 2)}\n`);
}
console.log(`${cases.length} bundles, ${numbers.size} verdicts and rules`);
