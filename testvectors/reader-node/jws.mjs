// The compact JWS (docs/PROTOCOL.md W1 to W8): one spelling, a closed list of algorithms, and
// no key that comes out of the message.
import { constants, createHash, verify } from 'node:crypto';
import { decodeUTF8, Malformed, Num, Obj, parse } from './json.mjs';

export const algorithms = {
  RS256: { kty: 'RSA', hash: 'sha256' },
  RS384: { kty: 'RSA', hash: 'sha384' },
  RS512: { kty: 'RSA', hash: 'sha512' },
  PS256: { kty: 'RSA', hash: 'sha256', salt: 32 },
  PS384: { kty: 'RSA', hash: 'sha384', salt: 48 },
  PS512: { kty: 'RSA', hash: 'sha512', salt: 64 },
  ES256: { kty: 'EC', hash: 'sha256', crv: 'P-256', size: 64 },
  ES384: { kty: 'EC', hash: 'sha384', crv: 'P-384', size: 96 },
  ES512: { kty: 'EC', hash: 'sha512', crv: 'P-521', size: 132 },
};

const forbidden = ['crit', 'b64', 'zip', 'jwk', 'jku', 'x5u'];

export const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** base64url decodes the one spelling: what encodes to something else is refused. */
export function base64url(text) {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.toString('base64url') !== text) throw new Malformed('not base64url in its one spelling', undefined, 'jws');
  return bytes;
}

/** parseJWS reads a compact JWS and checks its header; it says nothing about the signature. */
export function parseJWS(text) {
  const parts = text.split('.');
  if (parts.length !== 3) throw new Malformed('a compact JWS has three parts', undefined, 'jws');
  if (parts.some((p) => p === '')) throw new Malformed('a part of the JWS is empty', undefined, 'jws');
  const [header, payload, signature] = parts.map(base64url);
  return { text, payloadText: parts[1], signed: `${parts[0]}.${parts[1]}`, header: readHeader(header), payload, signature };
}

function readHeader(bytes) {
  const h = parse(decodeUTF8(bytes));
  if (!(h instanceof Obj)) throw new Malformed('the header is not an object', undefined, 'type');
  for (const name of forbidden) if (h.has(name)) throw new Malformed(`the header has ${name}`, undefined, 'header');
  const alg = h.get('alg');
  if (typeof alg !== 'string' || !Object.hasOwn(algorithms, alg)) throw new Malformed('an alg that is not taken', undefined, alg === undefined || typeof alg === 'string' ? 'alg' : 'type');
  for (const name of ['kid', 'typ', 'cty', 'x5t#S256']) {
    const v = h.get(name);
    if (v !== undefined && typeof v !== 'string') throw new Malformed(`${name} is not a string`, undefined, 'type');
  }
  if (h.get('kid') === '') throw new Malformed('kid is empty', undefined, 'header');
  const x5c = h.get('x5c');
  if (x5c !== undefined && !(Array.isArray(x5c) && x5c.every((c) => typeof c === 'string'))) throw new Malformed('x5c is not an array of strings', undefined, 'type');
  const iat = h.get('iat');
  if (iat !== undefined && !(iat instanceof Num)) throw new Malformed('iat is not a number', undefined, 'header');
  return { alg, kid: h.get('kid'), typ: h.get('typ'), iat: iat && Number(iat.text), x5c };
}

/** fits says whether a key may be used with the algorithm: type, curve, and its own alg. */
export function fits(key, alg) {
  const a = algorithms[alg];
  return key.kty === a.kty && (a.crv === undefined || key.crv === a.crv) && (key.alg === undefined || key.alg === alg);
}

/** signatureHolds checks the signature under a key that fits. */
export function signatureHolds(jws, key) {
  const a = algorithms[jws.header.alg];
  if (a.kty === 'EC') {
    // A raw signature is r and s, each as long as the curve; OpenSSL checks their range.
    return jws.signature.length === a.size && verify(a.hash, Buffer.from(jws.signed), { key: key.public, dsaEncoding: 'ieee-p1363' }, jws.signature);
  }
  const padding = a.salt === undefined ? { padding: constants.RSA_PKCS1_PADDING } : { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: a.salt };
  return verify(a.hash, Buffer.from(jws.signed), { key: key.public, ...padding }, jws.signature);
}
