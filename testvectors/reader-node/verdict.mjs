#!/usr/bin/env node
// The verdict on evidence bundles and transferblocks:
//   node verdict.mjs --trust platforms.json [--at 2026-06-01T12:00:00Z] FILE…
// One JSON object a file. Exit code: 0 all hold, 1 one is invalid, 3 one cannot be told, 2 usage.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { when } from './answers.mjs';
import { judgeBundle } from './evidence.mjs';
import { judge } from './judge.mjs';
import { loadTrust } from './trust.mjs';

function options() {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { trust: { type: 'string' }, at: { type: 'string' } } });
    if (!values.trust || positionals.length === 0) throw new Error('name a trust file and at least one file');
    return { trust: loadTrust(readFileSync(values.trust, 'utf8')), at: values.at ?? new Date().toISOString(), now: when(values.at ?? new Date().toISOString()), files: positionals };
  } catch (e) {
    console.error(`${e.message}\nusage: verdict.mjs --trust FILE [--at TIME] FILE…`);
    process.exit(2);
  }
}

// verdict judges one file, by what its first member says it is.
function verdict(bytes, { trust, at, now }) {
  if (/"format"\s*:/.test(bytes.toString('latin1'))) return judgeBundle(bytes, trust, now);
  const { expect, reason, law, entry, transaction, state } = judge('block', bytes, { trust, at });
  const words = { accept: 'VALID', indeterminate: 'INDETERMINATE' };
  return { verdict: words[expect] ?? 'INVALID', code: law ? `${reason}/${law}` : reason, place: reason && { entry, transaction }, state };
}

const o = options();
const seen = new Set();
for (const file of o.files) {
  const v = verdict(readFileSync(file), o);
  seen.add(v.verdict);
  console.log(JSON.stringify({ file, ...v }));
}
process.exit(seen.has('INVALID') ? 1 : seen.has('INDETERMINATE') ? 3 : 0);
