// The body of PUT /v1/transferblocks and the payload of an entry: shape only (B1 to B7, S1 to S9).
import { canonical, decodeUTF8, Malformed, Num, Obj, parse, withoutSpace } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { parseIdentifier, parsePlatformHost } from './trust.mjs';

export const limits = { body: 8 << 20, entries: 1000, transactions: 1000, depth: 64 };

const isHash = (v) => typeof v === 'string' && /^[0-9a-f]{64}$/.test(v);

function must(ok, what, path) {
  if (!ok) throw new Malformed(what, path);
}

/** at runs f and names the place in what it throws. */
function at(path, f) {
  try {
    return f();
  } catch (e) {
    if (e instanceof Malformed) throw new Malformed(e.message, path);
    throw e;
  }
}

/** readDocument checks a document and gives its two possible texts: canonical, and as sent. */
export function readDocument(doc, text) {
  must(doc instanceof Obj, 'not an object', '$.document');
  must([undefined, true, false].includes(doc.get('isToOrder')), 'not a boolean', '$.document.isToOrder');
  for (const name of ['carrierCode', 'transportDocumentReference', 'transportDocumentSubReference']) {
    const v = doc.get(name);
    must(v === undefined || typeof v === 'string', 'not a string', `$.document.${name}`);
  }
  const form = canonical(doc, '$.document');
  return {
    canonical: form,
    hash: sha256(form),
    hashAsSent: sha256(withoutSpace(text.slice(doc.start, doc.end))),
    toOrder: doc.get('isToOrder'),
    carrierCode: doc.get('carrierCode'),
  };
}

/** readBlock reads a whole body; what it gives has the right shape, and nothing more is known. */
export function readBlock(bytes) {
  must(bytes.length <= limits.body, `more than ${limits.body} bytes`);
  const text = decodeUTF8(bytes);
  const body = parse(text, limits.depth);
  must(body instanceof Obj, 'not an object', '$');
  const document = readDocument(body.get('document'), text);
  const chain = body.get('endorsementChain');
  const old = body.get('endorcementChain');
  must(chain === undefined || old === undefined, 'both spellings of the chain', '$.endorcementChain');
  const entries = chain ?? old;
  must(Array.isArray(entries) && entries.length > 0, 'not an array of entries', '$.endorsementChain');
  must(entries.length <= limits.entries, `more than ${limits.entries} entries`, '$.endorsementChain');
  return { document, entries: entries.map((e, i) => readEntry(e, `$.endorsementChain[${i}]`)) };
}

function readEntry(e, path) {
  must(e instanceof Obj, 'not an object', path);
  must(isHash(e.get('envelopeHash')), 'not 64 lower-case hex digits', `${path}.envelopeHash`);
  must(typeof e.get('signature') === 'string', 'not a string', `${path}.signature`);
  const beside = e.get('eblEnvelope');
  must(beside === undefined || beside instanceof Obj, 'not an object', `${path}.eblEnvelope`);
  const jws = at(`${path}.signature`, () => parseJWS(e.get('signature')));
  return { claimed: e.get('envelopeHash'), jws, beside, ...at(`${path}.signature`, () => readPayload(jws.payload)) };
}

/** readPayload reads an eblEnvelope. */
export function readPayload(bytes) {
  const p = parse(bytes, limits.depth);
  must(p instanceof Obj, 'the payload is not an object');
  must(isHash(p.get('documentHash')), 'documentHash is not 64 lower-case hex digits');
  const previous = p.get('previousEnvelopeHash');
  must(previous === undefined || isHash(previous), 'previousEnvelopeHash is not 64 lower-case hex digits');
  const list = p.get('transactions');
  must(Array.isArray(list) && list.length > 0, 'transactions is not an array with at least one');
  must(list.length <= limits.transactions, `more than ${limits.transactions} transactions`);
  return { payload: p, documentHash: p.get('documentHash'), previous, transactions: list.map((t, i) => at(`transactions[${i}]`, () => readTransaction(t))) };
}

const instructions = ['ISSU', 'TRNS', 'SURR', 'AMND', 'SW2P'];

function readTransaction(t) {
  must(t instanceof Obj, 'not an object');
  must(t.get('instruction') === undefined || t.get('action') === undefined, 'instruction and action');
  const instruction = t.get('instruction') ?? t.get('action');
  must(instructions.includes(instruction), 'not a known instruction');
  const comments = t.get('comments');
  must(comments === undefined || (typeof comments === 'string' && [...comments].length <= 255), 'comments is not a string of at most 255 characters');
  must(typeof t.get('isToOrder') === 'boolean', 'isToOrder is not a boolean');
  must(typeof t.get('platformHost') === 'string', 'platformHost is not a string');
  return {
    instruction,
    time: readTime(t.get('timestamp')),
    toOrder: t.get('isToOrder'),
    host: parsePlatformHost(t.get('platformHost')),
    transferee: readTransferee(t.get('transferee')),
  };
}

/** readTime gives nanoseconds since 1970; the number of digits tells the unit (S6). */
function readTime(v) {
  must(v instanceof Num && /^(0|[1-9][0-9]*)$/.test(v.text), 'timestamp is not an integer in plain digits');
  const n = BigInt(v.text);
  must(n < 1n << 63n, 'timestamp is 2^63 or more');
  if (v.text.length >= 17) return n;
  return v.text.length >= 15 ? n * 1000n : n * 1000000n;
}

const isString = (v) => typeof v === 'string';

const codeMembers = ['codeListProvider', 'DCSAResponsibleAgencyCode', 'partyCode', 'codeListName'];
const isCode = (v) => v instanceof Obj && codeMembers.every((m) => v.get(m) === undefined || isString(v.get(m)));

// The members of a DCSA Party that a receiver compares, and their types; all others are tolerated (S9).
const party = {
  partyName: isString,
  taxReference1: isString,
  taxReference2: isString,
  identifyingCodes: (v) => Array.isArray(v) && v.every(isCode),
};

function readTransferee(v) {
  if (typeof v === 'string') return parseIdentifier(v);
  must(v instanceof Obj, 'transferee is neither a string nor an object');
  must(typeof v.get('eBLPlatformIdentifier') === 'string', 'eBLPlatformIdentifier is not a string');
  for (const [name, good] of Object.entries(party)) {
    const m = v.get(name);
    must(m === undefined || good(m), `transferee.${name} has another type`);
  }
  return parseIdentifier(v.get('eBLPlatformIdentifier'));
}
