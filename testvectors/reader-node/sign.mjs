// Signatures that come out the same each time, so that files made twice are the same files: RS256,
// and ES256 with the nonce of RFC 6979. Node's own ECDSA takes a random nonce. Not in constant time:
// for test keys only.
import { createHash, createHmac, sign } from 'node:crypto';

const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const g = [0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n, 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n];

const mod = (a, m = p) => ((a % m) + m) % m;

function inverse(a, m) {
  let [r, s, x, y] = [mod(a, m), m, 1n, 0n];
  while (r > 1n) {
    const q = s / r;
    [r, s, x, y] = [s - q * r, r, y - q * x, x];
  }
  return mod(x, m);
}

// Points in Jacobian coordinates: x/z², y/z³; z = 0 is the point at infinity.
function double([x, y, z]) {
  if (z === 0n) return [x, y, z];
  const s = mod(4n * x * y * y);
  const m = mod(3n * (x - z * z) * (x + z * z)); // a = -3
  const x3 = mod(m * m - 2n * s);
  return [x3, mod(m * (s - x3) - 8n * y ** 4n), mod(2n * y * z)];
}

function add([x1, y1, z1], [x2, y2, z2]) {
  if (z1 === 0n) return [x2, y2, z2];
  if (z2 === 0n) return [x1, y1, z1];
  const [a, b] = [mod(x1 * z2 * z2), mod(x2 * z1 * z1)];
  const [c, d] = [mod(y1 * z2 ** 3n), mod(y2 * z1 ** 3n)];
  if (a === b) return c === d ? double([x1, y1, z1]) : [1n, 1n, 0n];
  const [h, r] = [mod(b - a), mod(d - c)];
  const x3 = mod(r * r - h ** 3n - 2n * a * h * h);
  return [x3, mod(r * (a * h * h - x3) - c * h ** 3n), mod(h * z1 * z2)];
}

function timesG(k) {
  let sum = [1n, 1n, 0n];
  let point = [...g, 1n];
  for (; k > 0n; k >>= 1n) {
    if (k & 1n) sum = add(sum, point);
    point = double(point);
  }
  const z = inverse(sum[2], p);
  return [mod(sum[0] * z * z), mod(sum[1] * z ** 3n)];
}

const toInt = (bytes) => BigInt(`0x${bytes.toString('hex')}`);
const toBytes = (i) => Buffer.from(i.toString(16).padStart(64, '0'), 'hex');

// nonces of RFC 6979, section 3.2, with SHA-256.
function* nonces(d, digest) {
  const mac = (k, ...parts) => createHmac('sha256', k).update(Buffer.concat(parts)).digest();
  const seed = Buffer.concat([toBytes(d), toBytes(mod(toInt(digest), n))]);
  let k = Buffer.alloc(32, 0);
  let v = Buffer.alloc(32, 1);
  for (const b of [0, 1]) {
    k = mac(k, v, Buffer.from([b]), seed);
    v = mac(k, v);
  }
  for (;;) {
    v = mac(k, v);
    const nonce = toInt(v);
    if (nonce > 0n && nonce < n) yield nonce;
    k = mac(k, v, Buffer.from([0]));
    v = mac(k, v);
  }
}

function es256(jwk, text) {
  const digest = createHash('sha256').update(text).digest();
  const d = toInt(Buffer.from(jwk.d, 'base64url'));
  for (const k of nonces(d, digest)) {
    const r = mod(timesG(k)[0], n);
    const s = mod(inverse(k, n) * (toInt(digest) + r * d), n);
    if (r !== 0n && s !== 0n) return Buffer.concat([toBytes(r), toBytes(s)]);
  }
  throw new Error('no nonce');
}

/** signature signs with a private JWK: ES256 for P-256, RS256 for RSA. */
export function signature(jwk, text) {
  if (jwk.kty === 'EC') return es256(jwk, text);
  return sign('sha256', Buffer.from(text), { key: jwk, format: 'jwk' });
}

export const algOf = (jwk) => (jwk.kty === 'EC' ? 'ES256' : 'RS256');
