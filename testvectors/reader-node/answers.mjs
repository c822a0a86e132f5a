// Receipts, rejections and verdicts, as the sender of a transfer reads them (A1 to V3).
import { asOptionalHash } from './block.mjs';
import { decodeUTF8, Malformed, Obj, parse } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { parseHost, sameHost } from './trust.mjs';
import { Refused, whoSigned } from './verify.mjs';

const isHash = (v) => typeof v === 'string' && /^[0-9a-f]{64}$/.test(v);
const ours = ['eblnode-rejection+jws', 'eblnode-verdict+jws', 'eblnode-step+jws', 'eblnode-root+jws', 'eblnode-bundle+jws'];
const trimmed = (bytes) => decodeUTF8(bytes).replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');

function must(ok, what, rule) {
  if (!ok) throw new Malformed(what, undefined, rule);
}

/** iatOf is the iat of a header in ns, if it has one that a clock may show and that is not ahead of now. */
export function iatOf(jws, now) {
  const { iat } = jws.header;
  const at = iat > 0 && iat < 2 ** 40 ? BigInt(Math.floor(iat)) * 1000000000n : undefined;
  return at !== undefined && at <= now ? at : undefined;
}

// signedAt is the time for which the key of an answer is judged (A4).
const signedAt = (jws, now) => iatOf(jws, now) ?? now;

function signedBy(jws, trust, domain, when) {
  const p = trust.of(parseHost(domain));
  if (!p) throw new Refused('platformNotTrusted');
  const { reason } = whoSigned(jws, p, when);
  if (reason) throw new Refused(reason);
}

/** checkReceiptTyp refuses our other statements in the place of a receipt. */
export function checkReceiptTyp(jws) {
  must(!ours.includes(jws.header.typ), 'another statement of ours', 'typ');
}

/** readReceipt: a JWS over the bare envelopeHash, alone or as a JSON string. */
export function readReceipt(bytes, { trust, signer, envelopeHash, now }) {
  let text = trimmed(bytes);
  if (text.startsWith('"')) text = parse(text);
  const jws = parseJWS(text);
  checkReceiptTyp(jws);
  must(jws.payload.equals(Buffer.from(envelopeHash)), 'not the envelopeHash');
  signedBy(jws, trust, signer, signedAt(jws, now));
}

/** readStatement reads a JWS of ours that has a typ of its own and a JSON object as payload. */
export function readStatement(text, typ, depth = 4) {
  const jws = parseJWS(text);
  must(jws.header.typ === typ, `typ is not ${typ}`, 'typ');
  const body = parse(jws.payload, depth);
  must(body instanceof Obj, 'not an object', 'type');
  return { jws, body };
}

/** when reads an RFC 3339 time in its one spelling, in ns since 1970. */
export function when(v) {
  must(v !== undefined, 'no time', 'missing');
  must(typeof v === 'string', 'a time is a string', 'type');
  const m = /^(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/.exec(v);
  must(m, 'not a time', 'time');
  const utc = new Date(`${m[1]}Z`); // 30 February would come back as another day
  must(!Number.isNaN(utc.getTime()) && utc.toISOString().startsWith(m[1]), 'not a time', 'time');
  return BigInt(Date.parse(m[1] + m[3])) * 1000000n + BigInt((m[2] ?? '').slice(0, 9).padEnd(9, '0'));
}

const text = (body, name) => {
  const v = body.get(name);
  must(v !== undefined, `no ${name}`, 'missing');
  must(typeof v === 'string', `${name} is not a string`, 'type');
  return v;
};

const hash = (body, name) => {
  const v = text(body, name);
  must(isHash(v), `${name} is not a hash`, 'hash');
  return v;
};

/** parseRejection reads a rejection and says nothing of its signature. */
export function parseRejection(jwsText) {
  const { jws, body } = readStatement(jwsText, 'eblnode-rejection+jws');
  const r = { jws, body, envelopeHash: hash(body, 'envelopeHash'), jwsSha256: hash(body, 'jwsSha256'), code: text(body, 'responseCode') };
  [r.from, r.to] = ['sender', 'receiver'].map((name) => parseHost(text(body, name)));
  text(body, 'reason');
  must(['BSIG', 'BENV', 'DISE'].includes(r.code), 'not a responseCode', 'value');
  when(body.get('errorDateTime'));
  return r;
}

/** parseVerdict reads the carrier's verdict and says nothing of its signature. */
export function parseVerdict(jwsText) {
  const { jws, body } = readStatement(jwsText, 'eblnode-verdict+jws');
  const v = { jws, documentHash: hash(body, 'documentHash'), kind: text(body, 'verdict') };
  for (const name of ['envelopeHash', 'replacedBy']) if (body.get(name) !== undefined) v[name] = asOptionalHash(hash(body, name), name);
  must(['surrendered', 'amended', 'paper'].includes(v.kind), 'not a verdict', 'value');
  v.at = when(body.get('at'));
  return v;
}

/** readRejection: the receiver's signed no to one transfer. */
export function readRejection(bytes, { trust, signer, sender, receiver, envelopeHash, jws: transfer, now }) {
  const { jws, body, from, to } = parseRejection(decodeUTF8(bytes));
  signedBy(jws, trust, signer, signedAt(jws, now));
  const about =
    body.get('envelopeHash') === envelopeHash &&
    body.get('jwsSha256') === sha256(transfer) &&
    sameHost(from, parseHost(sender)) &&
    sameHost(to, parseHost(receiver));
  if (!about) throw new Refused('notOurTransfer');
}

/** readVerdict: the carrier's final answer to a returned bill. */
export function readVerdict(bytes, { trust, signer, now }) {
  const { jws, at } = parseVerdict(trimmed(bytes));
  signedBy(jws, trust, signer, at);
  must(at <= now + 5n * 60n * 1000000000n, 'ahead of our clock');
}
