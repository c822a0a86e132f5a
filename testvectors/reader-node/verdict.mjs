#!/usr/bin/env node
// The verdict on evidence bundles and transferblocks:
//   node verdict.mjs --trust platforms.json [--at 2026-06-01T12:00:00Z] [--expect LIST] FILE…
// One JSON object a file. Exit code: 0 all hold, 1 one is invalid, 3 one cannot be told, 2 usage. With --expect it prints
// where the verdicts differ from the list (that of eblverify --expect), and the exit code is 0 if they do not, else 1.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { when } from './answers.mjs';
import { judgeBundle } from './evidence.mjs';
import { decodeUTF8, Malformed, Obj, parse } from './json.mjs';
import { judge } from './judge.mjs';
import { loadTrust } from './trust.mjs';

function options() {
  try {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { trust: { type: 'string' }, at: { type: 'string' }, expect: { type: 'string' } } });
    if (!values.trust || positionals.length === 0) throw new Error('name a trust file and at least one file');
    return { trust: loadTrust(readFileSync(values.trust, 'utf8')), at: values.at ?? new Date().toISOString(), now: when(values.at ?? new Date().toISOString()), files: positionals, list: values.expect && JSON.parse(readFileSync(values.expect, 'utf8')).files };
  } catch (e) {
    console.error(`${e.message}\nusage: verdict.mjs --trust FILE [--at TIME] [--expect LIST] FILE…`);
    process.exit(2);
  }
}

// isBundle: it has a format, and is not a transferblock, which has a chain of another name (docs/BUNDLE.md, section 1).
function isBundle(bytes) {
  try {
    const o = parse(decodeUTF8(bytes));
    const has = (name) => o instanceof Obj && o.get(name) !== undefined;
    return o instanceof Obj && o.members.has('format') && !has('endorsementChain') && !has('endorcementChain');
  } catch (e) {
    if (!(e instanceof Malformed)) throw e;
    return bytes.subarray(0, 4096).includes('eblnode-bundle/'); // a damaged one
  }
}

// verdict judges one file.
function verdict(bytes, { trust, at, now }) {
  if (isBundle(bytes)) {
    const end = Date.now() + 30_000; // as docs/BUNDLE.md has it
    return judgeBundle(bytes, trust, now, () => Date.now() > end);
  }
  const { expect, reason, law, entry, transaction, state } = judge('block', bytes, { trust, at });
  const words = { accept: 'VALID', indeterminate: 'INDETERMINATE' };
  return { verdict: words[expect] ?? 'INVALID', code: law ? `${reason}/${law}` : reason, place: reason && { entry, transaction }, state };
}

// compare holds the verdicts against a list, both ways.
function compare(list, verdicts) {
  const text = (v, rule) => (v ? `${v} ${rule ?? ''}`.trim() : 'nothing');
  const names = new Set([...Object.keys(list), ...verdicts.keys()]);
  const differ = [...names].filter((name) => text(verdicts.get(name)?.verdict, verdicts.get(name)?.code) !== text(list[name]?.verdict, list[name]?.rule));
  for (const name of differ) console.log(`${name}: got ${text(verdicts.get(name)?.verdict, verdicts.get(name)?.code)}, expected ${text(list[name]?.verdict, list[name]?.rule)}`);
  const rules = new Set([...verdicts.values()].map((v) => v.code).filter(Boolean));
  console.log(`${verdicts.size} files judged, ${rules.size} different first-broken rules: ${differ.length === 0 ? 'each as expected' : `${differ.length} NOT as expected`}`);
  return differ.length === 0 ? 0 : 1;
}

const o = options();
const verdicts = new Map();
for (const file of o.files) {
  const v = verdict(readFileSync(file), o);
  verdicts.set(basename(file), v);
  if (!o.list) console.log(JSON.stringify({ file, ...v }));
}
if (o.list) process.exit(compare(o.list, verdicts));
const seen = new Set([...verdicts.values()].map((v) => v.verdict));
process.exit(seen.has('INVALID') ? 1 : seen.has('INDETERMINATE') ? 3 : 0);
