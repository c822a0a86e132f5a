// The body of PUT /v1/transferblocks and the payload of an entry: shape only (B1 to B7, S1 to S9).
import { canonical, decodeUTF8, Malformed, Num, Obj, parse, withoutSpace } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { parseIdentifier, parsePlatformHost } from './trust.mjs';

export const limits = { body: 8 << 20, entries: 1000, transactions: 1000, depth: 64 };

function must(ok, what, path, rule) {
  if (!ok) throw new Malformed(what, path, rule);
}

/** at runs f and names the place in what it throws. */
export function at(path, f) {
  try {
    return f();
  } catch (e) {
    throw e instanceof Malformed ? e.under(path) : e;
  }
}

const kinds = {
  string: (v) => typeof v === 'string',
  boolean: (v) => typeof v === 'boolean',
  number: (v) => v instanceof Num,
  object: (v) => v instanceof Obj,
  array: Array.isArray,
};

/** maybe is a member of that kind, or undefined where it is absent or null. */
export function maybe(o, name, kind) {
  const v = o.get(name);
  must(v === undefined || kinds[kind](v), `${name} is not of the kind ${kind}`, undefined, 'type');
  return v;
}

/** need is a member of that kind that must be there. */
export function need(o, name, kind) {
  must(o.get(name) !== undefined, `${name} is missing`, undefined, 'missing');
  return maybe(o, name, kind);
}

/** asHash checks the one spelling of a hash. */
export function asHash(v, name) {
  must(v === undefined || /^[0-9a-f]{64}$/.test(v), `${name} is not 64 lower-case hex digits`, undefined, 'hash');
  return v;
}

/** asOptionalHash is asHash where a hash may be absent: 64 zeros do not stand for that. */
export function asOptionalHash(v, name) {
  must(v !== '0'.repeat(64), `${name} is all zeros`, undefined, 'hash');
  return asHash(v, name);
}

/** readDocument checks a document and gives its two possible texts: canonical, and as sent. */
export function readDocument(doc, text) {
  must(doc !== undefined && doc !== null, 'missing', '$.document', 'missing');
  must(doc instanceof Obj, 'not an object', '$.document', 'type');
  const toOrder = at('$.document', () => maybe(doc, 'isToOrder', 'boolean'));
  for (const name of ['carrierCode', 'transportDocumentReference', 'transportDocumentSubReference']) at('$.document', () => maybe(doc, name, 'string'));
  const form = canonical(doc, '$.document');
  return { canonical: form, hash: sha256(form), hashAsSent: sha256(withoutSpace(text.slice(doc.start, doc.end))), toOrder, carrierCode: doc.get('carrierCode'), reference: referenceOf(doc), text: text.slice(doc.start, doc.end) };
}

// referenceOf is what at most one live bill may have; undefined where the document has no reference.
function referenceOf(doc) {
  const parts = ['carrierCode', 'transportDocumentReference', 'transportDocumentSubReference'].map((m) => doc.get(m) ?? '');
  return parts[0] && parts[1] ? JSON.stringify(parts) : undefined;
}

/** readBlock reads a whole body; what it gives has the right shape, and nothing more is known. */
export function readBlock(bytes) {
  must(bytes.length <= limits.body, `more than ${limits.body} bytes`, '$', 'limit');
  const text = decodeUTF8(bytes);
  const body = parse(text, limits.depth);
  must(body instanceof Obj, 'not an object', '$', 'type');
  const document = readDocument(body.get('document'), text);
  const both = body.get('endorsementChain') !== undefined && body.get('endorcementChain') !== undefined;
  must(!both, 'both spellings of the chain', '$.endorcementChain', 'both');
  const chain = at('$', () => maybe(body, 'endorcementChain', 'array') ?? need(body, 'endorsementChain', 'array'));
  const entries = readEntries(chain, '$.endorsementChain');
  entries.forEach((e) => {
    e.besideText = e.beside && text.slice(e.beside.start, e.beside.end);
  });
  return { document, entries };
}

/** readEntries reads a chain of at least one entry. */
export function readEntries(entries, path) {
  must(entries.length > 0, 'empty', path, 'missing');
  must(entries.length <= limits.entries, `more than ${limits.entries} entries`, path, 'limit');
  return entries.map((e, i) => at(`${path}[${i}]`, () => readEntry(e)));
}

function readEntry(e) {
  must(e instanceof Obj, 'not an object', undefined, 'type');
  const claimed = asHash(need(e, 'envelopeHash', 'string'), 'envelopeHash');
  const entry = readSigned(need(e, 'signature', 'string'));
  return { ...entry, claimed, beside: maybe(e, 'eblEnvelope', 'object') };
}

/** readSigned reads the JWS of an entry and its payload. */
export function readSigned(text) {
  const jws = parseJWS(text);
  return { jws, ...readPayload(jws.payload) };
}

function readPayload(bytes) {
  const p = parse(bytes, limits.depth);
  must(p instanceof Obj, 'the payload is not an object', undefined, 'type');
  const documentHash = asHash(need(p, 'documentHash', 'string'), 'documentHash');
  const previous = asHash(maybe(p, 'previousEnvelopeHash', 'string'), 'previousEnvelopeHash');
  const list = need(p, 'transactions', 'array');
  must(list.length > 0, 'no transactions', undefined, 'missing');
  must(list.length <= limits.transactions, `more than ${limits.transactions} transactions`, undefined, 'limit');
  return { payload: p, documentHash, previous, transactions: list.map((t, i) => at(`transactions[${i}]`, () => readTransaction(t))) };
}

const instructions = ['ISSU', 'TRNS', 'SURR', 'AMND', 'SW2P'];

/** readTransaction reads one transaction. */
export function readTransaction(t) {
  must(t instanceof Obj, 'not an object', undefined, 'type');
  must(t.get('instruction') === undefined || t.get('action') === undefined, 'instruction and action', undefined, 'both');
  const instruction = maybe(t, 'action', 'string') ?? need(t, 'instruction', 'string');
  must(instructions.includes(instruction), 'not a known instruction', undefined, 'instruction');
  must([...(maybe(t, 'comments', 'string') ?? '')].length <= 255, 'comments has more than 255 characters', undefined, 'comments');
  return {
    instruction,
    time: readTime(t.get('timestamp')),
    toOrder: need(t, 'isToOrder', 'boolean'),
    host: parsePlatformHost(need(t, 'platformHost', 'string')),
    transferee: readTransferee(t.get('transferee')),
  };
}

/** readTime gives nanoseconds since 1970; the number of digits tells the unit (S6). */
function readTime(v) {
  must(v !== undefined, 'timestamp is missing', undefined, 'missing');
  must(v instanceof Num && /^(0|[1-9][0-9]*)$/.test(v.text), 'timestamp is not an integer in plain digits', undefined, 'timestamp');
  const n = BigInt(v.text);
  must(n < 1n << 63n, 'timestamp is 2^63 or more', undefined, 'timestamp');
  if (v.text.length >= 17) return n;
  return v.text.length >= 15 ? n * 1000n : n * 1000000n;
}

// readTransferee: the members of a DCSA Party that a receiver compares have types; all others are tolerated (S9).
function readTransferee(v) {
  must(v !== undefined, 'transferee is missing', undefined, 'missing');
  if (typeof v === 'string') return parseIdentifier(v);
  must(v instanceof Obj, 'transferee is neither a string nor an object', undefined, 'type');
  const id = need(v, 'eBLPlatformIdentifier', 'string');
  for (const name of ['partyName', 'taxReference1', 'taxReference2']) maybe(v, name, 'string');
  for (const code of maybe(v, 'identifyingCodes', 'array') ?? []) {
    must(code instanceof Obj, 'identifyingCodes holds something else than objects', undefined, 'type');
    for (const name of ['codeListProvider', 'DCSAResponsibleAgencyCode', 'partyCode', 'codeListName']) maybe(code, name, 'string');
  }
  return parseIdentifier(id);
}
