// Receipts, rejections and verdicts, as the sender of a transfer reads them (A1 to V3).
import { decodeUTF8, Malformed, Obj, parse } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { parseHost, sameHost } from './trust.mjs';
import { checkSignature, Refused } from './verify.mjs';

const isHash = (v) => typeof v === 'string' && /^[0-9a-f]{64}$/.test(v);
const ours = ['eblnode-rejection+jws', 'eblnode-verdict+jws', 'eblnode-step+jws', 'eblnode-root+jws'];
const trimmed = (bytes) => decodeUTF8(bytes).replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '');

function must(ok, what) {
  if (!ok) throw new Malformed(what);
}

// signedAt is the time for which the key of an answer is judged: its iat, if that is not ahead (A4).
function signedAt(jws, now) {
  const iat = jws.header.iat;
  const at = iat > 0 && iat < 2 ** 40 ? BigInt(Math.floor(iat)) * 1000000000n : now;
  return at < now ? at : now;
}

function signedBy(jws, trust, domain, when) {
  const p = trust.of(parseHost(domain));
  if (!p) throw new Refused('platformNotTrusted');
  const reason = checkSignature(jws, p, when);
  if (reason) throw new Refused(reason);
}

/** readReceipt: a JWS over the bare envelopeHash, alone or as a JSON string. */
export function readReceipt(bytes, { trust, signer, envelopeHash, now }) {
  let text = trimmed(bytes);
  if (text.startsWith('"')) text = parse(text);
  const jws = parseJWS(text);
  must(!ours.includes(jws.header.typ), 'another statement of ours');
  must(jws.payload.equals(Buffer.from(envelopeHash)), 'not the envelopeHash');
  signedBy(jws, trust, signer, signedAt(jws, now));
}

function readStatement(text, typ) {
  const jws = parseJWS(text);
  must(jws.header.typ === typ, `typ is not ${typ}`);
  const body = parse(jws.payload, 4);
  must(body instanceof Obj, 'not an object');
  return { jws, body };
}

function when(v) {
  const m = typeof v === 'string' && /^(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d+))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/.exec(v);
  must(m, 'not a time');
  const utc = new Date(`${m[1]}Z`); // 30 February would come back as another day
  must(!Number.isNaN(utc.getTime()) && utc.toISOString().startsWith(m[1]), 'not a time');
  return BigInt(Date.parse(m[1] + m[3])) * 1000000n + BigInt((m[2] ?? '').slice(0, 9).padEnd(9, '0'));
}

/** readRejection: the receiver's signed no to one transfer. */
export function readRejection(bytes, { trust, signer, sender, receiver, envelopeHash, jws: transfer, now }) {
  const { jws, body } = readStatement(decodeUTF8(bytes), 'eblnode-rejection+jws');
  must(isHash(body.get('envelopeHash')) && isHash(body.get('jwsSha256')), 'not a hash');
  for (const name of ['sender', 'receiver', 'reason']) must(typeof body.get(name) === 'string', `no ${name}`);
  must(['BSIG', 'BENV', 'DISE'].includes(body.get('responseCode')), 'not a responseCode');
  when(body.get('errorDateTime'));
  const [from, to] = [body.get('sender'), body.get('receiver')].map(parseHost);
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
  const { jws, body } = readStatement(trimmed(bytes), 'eblnode-verdict+jws');
  must(isHash(body.get('documentHash')), 'not a hash');
  for (const name of ['envelopeHash', 'replacedBy']) must(body.get(name) === undefined || isHash(body.get(name)), `${name} is not a hash`);
  must(['surrendered', 'amended', 'paper'].includes(body.get('verdict')), 'not a verdict');
  const at = when(body.get('at'));
  signedBy(jws, trust, signer, at);
  must(at <= now + 5n * 60n * 1000000000n, 'ahead of our clock');
}
