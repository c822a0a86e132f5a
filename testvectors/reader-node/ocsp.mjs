// OCSP answers (K8, K9; RFC 6960): what one of them says of one certificate at one time, if it says anything.
import { createHash, verify } from 'node:crypto';
import { Certificate, children, der, keepsPolicy, oid } from './certificates.mjs';

const minutes5 = 5 * 60_000;
const day = 86400_000;
const hashes = { '1.3.14.3.2.26': 'sha1', '2.16.840.1.101.3.4.2.1': 'sha256', '2.16.840.1.101.3.4.2.2': 'sha384', '2.16.840.1.101.3.4.2.3': 'sha512' };
const signatures = {
  '1.2.840.113549.1.1.11': 'sha256', '1.2.840.113549.1.1.12': 'sha384', '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256', '1.2.840.10045.4.3.3': 'sha384', '1.2.840.10045.4.3.4': 'sha512',
};
const reasons = ['unspecified', 'keyCompromise', 'cACompromise', 'affiliationChanged', 'superseded', 'cessationOfOperation', 'certificateHold'];
const laterReasons = { 9: 'privilegeWithdrawn', 10: 'aACompromise' };
const noCheck = '1.3.6.1.5.5.7.48.1.5';

function must(ok, what) {
  if (!ok) throw new Error(what);
}

// time reads a GeneralizedTime, in ms.
function time(element) {
  const m = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(element.content.toString('latin1'));
  must(element.tag === 0x18 && m, 'not a time');
  return Date.UTC(m[1], m[2] - 1, m[3], m[4], m[5], m[6]);
}

const text = (ms) => new Date(ms).toISOString().replace('.000Z', 'Z');

// extensions of an answer: none may be critical, since none is understood in that way.
function extensions(wrapper) {
  const out = new Map();
  for (const e of wrapper ? children(children(wrapper.content)[0].content) : []) {
    const parts = children(e.content);
    must(!(parts.length === 3 && parts[1].content[0] !== 0), 'a critical extension');
    out.set(oid(parts[0].content), parts.at(-1).content);
  }
  return out;
}

/** readAnswer gives {good} or {good: false, revoked (ms), reason}, with thisUpdate; undefined: it says nothing. */
export function readAnswer(answer, certificate, issuer, now) {
  try {
    return read(answer, certificate, issuer, now);
  } catch {
    return undefined;
  }
}

function read(answer, certificate, issuer, now) {
  must(answer.length <= 64 << 10, 'too long');
  const whole = der(answer);
  must(whole.end === answer.length, 'something after its end');
  const [status, wrapped] = children(whole.content);
  must(status.tag === 0x0a && status.content.length === 1 && status.content[0] === 0 && wrapped?.tag === 0xa0, 'no answer');
  const [type, body] = children(der(wrapped.content).content);
  must(oid(type.content) === '1.3.6.1.5.5.7.48.1.1', 'another kind of answer');
  const [data, algorithm, signature, certificates] = children(der(body.content).content);
  const by = signer(certificates, issuer, now);
  const hash = signatures[oid(children(algorithm.content)[0].content)];
  must(hash && verify(hash, data.whole, by.x509.publicKey, signature.content.subarray(1)), 'not signed by who should have');
  const fields = children(data.content);
  if (fields[0].tag === 0xa0) must(der(fields.shift().content).content[0] === 0, 'another version');
  const [, produced, list, more] = fields;
  extensions(more);
  must(time(produced) <= now + minutes5, 'made in the future');
  const singles = children(list.content).map((s) => children(s.content)).filter(([id]) => names(id, certificate, issuer));
  must(singles.length === 1, `${singles.length} statuses of this certificate`);
  return standing(singles[0], now, certificate.basic.ca ? 400 * day : 32 * day);
}

// signer is who must have signed: the issuer, or a responder that it appointed.
function signer(certificates, issuer, now) {
  must(keepsKey(issuer), 'a weak issuer');
  if (!certificates) return issuer;
  const d = new Certificate(children(der(certificates.content).content)[0].whole);
  if (d.raw.equals(issuer.raw) || (d.subject.equals(issuer.subject) && d.x509.publicKey.equals(issuer.x509.publicKey) && d.signedBy(issuer))) return issuer;
  must(d.signedBy(issuer) && d.extKeyUsages.includes('1.3.6.1.5.5.7.3.9'), 'not a responder of the issuer');
  must(!d.hasKeyUsage || d.uses(0), 'a responder that may not sign');
  must(d.validAt(now), 'a responder that has ended');
  must(d.extensions.has(noCheck) && keepsPolicy(d, { lifetime: false }), 'a responder that somebody would have to be asked about, or against the policy');
  return d;
}

const keepsKey = (c) => keepsPolicy(c, { keyOnly: true });

// names computes both hashes of the issuer again.
function names(id, certificate, issuer) {
  const [algorithm, name, key, serial] = children(id.content);
  const hash = hashes[oid(children(algorithm.content)[0].content)];
  const sum = (bytes) => createHash(hash).update(bytes).digest();
  const spki = children(der(issuer.x509.publicKey.export({ type: 'spki', format: 'der' })).content);
  return hash !== undefined && serial.content.equals(certificate.serial) && name.content.equals(sum(issuer.subject)) && key.content.equals(sum(spki[1].content.subarray(1)));
}

function standing([, status, thisUpdate, ...rest], now, far) {
  const next = rest.find((e) => e.tag === 0xa0);
  const more = extensions(rest.find((e) => e.tag === 0xa1));
  const from = time(thisUpdate);
  must(from <= now + minutes5, 'from the future');
  const until = next ? time(der(next.content)) : from + day;
  must(!next || (until >= from && until - from <= far), 'to be good for too long');
  must(now <= until, 'too old');
  if (status.tag === 0x80) return { good: true, thisUpdate: from };
  must(status.tag === 0xa1, 'the responder does not know it');
  const [at, why] = children(status.content);
  const n = why ? der(why.content).content[0] : 0;
  let revoked = time(at);
  if (more.has('2.5.29.24')) revoked = Math.min(revoked, time(der(more.get('2.5.29.24'))));
  return { good: false, revoked, reason: reasons[n] ?? laterReasons[n] ?? 'keyCompromise', thisUpdate: from };
}

/** stolen says whether a reason means that somebody else may have the key, or certificates for it. */
export const stolen = (reason) => ['keyCompromise', 'cACompromise', 'aACompromise'].includes(reason);

/** newestOf is the newest of several answers that counts, and one that says revoked before any that says good. */
export function newestOf(answers, certificate, issuer, now) {
  let best;
  for (const a of answers) {
    const s = readAnswer(a, certificate, issuer, now);
    if (s && (!best || (best.good && (!s.good || s.thisUpdate > best.thisUpdate)))) best = s;
  }
  return best;
}

/** inWords is a status as the vectors write it. */
export const inWords = (s) => (s.good ? { good: true } : { good: false, revoked: text(s.revoked), reason: s.reason });
