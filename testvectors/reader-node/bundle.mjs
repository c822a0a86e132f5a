// The evidence bundle: shape of everything in it (docs/BUNDLE.md, sections 1 and 3 A).
import { checkReceiptTyp, parseRejection, parseVerdict, readStatement, when } from './answers.mjs';
import { asHash, asOptionalHash, at, maybe, need, readDocument, readEntries, readSigned, readTransaction } from './block.mjs';
import { decodeUTF8, Malformed, Obj, parse } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { parseHost } from './trust.mjs';

export const limits = { body: 32 << 20, document: 8 << 20, entries: 1000, steps: 1000, answers: 1000, branches: 63, blobs: 4000, blob: 64 << 10, checks: 4000, evidence: 64, trust: 1000 };

function must(ok, what, path, rule) {
  if (!ok) throw new Malformed(what, path, rule);
}

const top = ['format', 'made', 'documentHash', 'document', 'chain', 'steps', 'receipts', 'rejections', 'verdict', 'branches', 'certificates', 'ocsp', 'checks', 'trust', 'signature'];

function onlyMembers(o, names, path) {
  for (const name of o.members.keys()) must(names.includes(name), `${name} is no member of this format`, path, 'unknownMember');
}

// list reads an optional array, one element after the other.
function list(o, name, most, read) {
  const a = maybe(o, name, 'array') ?? [];
  must(a.length <= most, `more than ${most}`, `$.${name}`, 'limit');
  return a.map((v, i) => at(`$.${name}[${i}]`, () => read(v)));
}

function asString(v) {
  must(v !== null, 'null where a string belongs', undefined, 'type');
  must(typeof v === 'string', 'not a string', undefined, 'type');
  return v;
}

function asObject(v) {
  must(v instanceof Obj, 'not an object', undefined, 'type');
  return v;
}

/** readBundle reads a bundle; what it gives is well formed, and nothing more is known. */
export function readBundle(bytes) {
  must(bytes.length <= limits.body, `more than ${limits.body} bytes`, '$', 'limit');
  const text = decodeUTF8(bytes);
  const o = parse(text);
  must(o instanceof Obj, 'not an object', '$', 'type');
  must(need(o, 'format', 'string') === 'eblnode-bundle/1', 'another format', '$.format', 'format');
  onlyMembers(o, top, '$');
  const b = { object: o, made: readMade(need(o, 'made', 'object')), documentHash: asHash(need(o, 'documentHash', 'string'), 'documentHash') };
  if (o.get('document') !== undefined) {
    const doc = o.get('document');
    must(!(doc instanceof Obj) || Buffer.byteLength(text.slice(doc.start, doc.end)) <= limits.document, 'a document of more than 8 MiB', '$.document', 'limit');
    b.document = readDocument(doc, text);
  }
  const chain = need(o, 'chain', 'array');
  b.entries = chain.length === 0 ? [] : readEntries(chain, '$.chain');
  chain.forEach((e, i) => onlyMembers(e, ['envelopeHash', 'signature', 'eblEnvelope'], `$.chain[${i}]`));
  b.steps = list(o, 'steps', limits.steps, (v) => readStep(asString(v)));
  must(b.entries.length + b.steps.length > 0, 'neither an entry nor a step', '$.chain', 'missing');
  readAnswers(o, b);
  readSeen(o, b);
  b.signature = maybe(o, 'signature', 'string');
  return b;
}

function readMade(o) {
  onlyMembers(o, ['by', 'at', 'selection'], '$.made');
  return at('$.made', () => {
    const made = { byText: need(o, 'by', 'string'), atText: need(o, 'at', 'string'), selection: need(o, 'selection', 'string') };
    made.by = parseHost(made.byText);
    made.at = when(made.atText);
    must(['bill', 'transfer', 'fork', 'archive'].includes(made.selection), 'not a selection', undefined, 'value');
    return made;
  });
}

function readStep(text) {
  const { jws, body } = readStatement(text, 'eblnode-step+jws', 64);
  const s = { jws, documentHash: asHash(need(body, 'documentHash', 'string'), 'documentHash'), index: readIndex(body, 'index') };
  for (const name of ['head', 'previous']) s[name] = asOptionalHash(maybe(body, name, 'string'), name);
  s.transaction = readTransaction(need(body, 'transaction', 'object'));
  return s;
}

function readIndex(o, name) {
  const n = need(o, name, 'number');
  must(/^-?[0-9]+$/.test(n.text) && BigInt(n.text) < 1n << 63n, `${name} is not a whole number`, undefined, 'type');
  must(BigInt(n.text) >= 0n, `${name} is below zero`, undefined, 'value');
  return Number(n.text);
}

function readAnswers(o, b) {
  b.receipts = list(o, 'receipts', limits.answers, (v) => {
    const jws = parseJWS(asString(v));
    checkReceiptTyp(jws);
    return jws;
  });
  b.rejections = list(o, 'rejections', limits.answers, (v) => parseRejection(asString(v)));
  const verdict = maybe(o, 'verdict', 'string');
  b.verdict = verdict && at('$.verdict', () => parseVerdict(verdict));
  let total = 0;
  b.branches = list(o, 'branches', limits.branches, (v) => {
    onlyMembers(asObject(v), ['from', 'at', 'entries'], undefined);
    const branch = { from: maybe(v, 'from', 'string') ?? '', at: readIndex(v, 'at') };
    const entries = need(v, 'entries', 'array');
    must(entries.length > 0, 'no entries', undefined, 'missing');
    must((total += entries.length) <= limits.entries, 'too many entries in branches', undefined, 'limit');
    branch.entries = entries.map((e) => readSigned(asString(e)));
    return branch;
  });
}

function readSeen(o, b) {
  for (const name of ['certificates', 'ocsp']) b[name] = list(o, name, limits.blobs, (v) => readBlob(asString(v)));
  b.checks = list(o, 'checks', limits.checks, (v) => {
    onlyMembers(asObject(v), ['jws', 'at', 'platform', 'key', 'certificates', 'ocsp'], undefined);
    const c = { at: when(v.get('at')) };
    for (const name of ['jws', 'key']) c[name] = asHash(need(v, name, 'string'), name);
    parseHost(need(v, 'platform', 'string'));
    for (const name of ['certificates', 'ocsp']) {
      c[name] = (maybe(v, name, 'array') ?? []).map((h) => asHash(asString(h), name));
      must(c[name].length <= limits.evidence, `more than ${limits.evidence} in one check`, undefined, 'limit');
    }
    return c;
  });
  b.trust = list(o, 'trust', limits.trust, asObject);
}

function readBlob(text) {
  const der = Buffer.from(text, 'base64');
  must(der.length <= limits.blob, 'more than 64 KiB', undefined, 'limit');
  must(der.length > 0 && der.toString('base64') === text, 'not base64, or empty', undefined, 'base64');
  return der;
}

/** makersPayload is what the maker's signature must cover (section 5). */
export function makersPayload(b, canonical) {
  const rest = new Obj();
  for (const [name, v] of b.object.members) if (name !== 'signature') rest.members.set(name, v);
  return `{"at":${JSON.stringify(b.made.atText)},"bundleSha256":"${sha256(canonical(rest))}","by":${JSON.stringify(b.made.byText)}}`;
}
