// Trust files: what the verifier knows about the platforms. Nothing else is a source of keys.
import { createPublicKey, X509Certificate } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { Certificate } from './certificates.mjs';
import { Malformed } from './json.mjs';
import { fits } from './jws.mjs';

/** loadTrust reads an object, an array of them, or {"platforms": […]}. */
export function loadTrust(text) {
  const file = JSON.parse(text);
  const entries = Array.isArray(file) ? file : file.platforms ?? [file];
  return new Trust(entries.map(platform));
}

function platform(e) {
  return {
    domain: parseHost(e.domain),
    hosts: [e.domain, ...(e.hosts ?? [])].map(parseHost),
    issuer: e.issuer === true,
    carriers: e.carriers,
    quirks: e.quirks ?? {},
    keys: (e.keys?.keys ?? []).map(readKey),
    ca: e.mode === 'ca',
    anchors: (e.anchors ?? []).map((pem) => new Certificate(pem)),
    shortLived: e.ocsp?.shortLived === true,
    responder: e.ocsp?.responder,
  };
}

// readKey: the window is that of the JWK and of its certificate, as far as both agree (K4).
function readKey(jwk) {
  const leaf = jwk.x5c && new X509Certificate(Buffer.from(jwk.x5c[0], 'base64'));
  return {
    kid: jwk.kid,
    kty: jwk.kty,
    crv: jwk.crv,
    alg: jwk.alg,
    public: createPublicKey({ key: jwk, format: 'jwk' }),
    notBefore: Math.max(time(jwk.notBefore, -Infinity), time(leaf?.validFrom, -Infinity)),
    notAfter: Math.min(time(jwk.notAfter, Infinity), time(leaf?.validTo, Infinity)),
    revoked: time(jwk.revoked, undefined),
    reason: jwk.reason,
    certificates: (jwk.x5c ?? []).map((c) => new Certificate(Buffer.from(c, 'base64'))),
  };
}

const time = (text, otherwise) => (text === undefined ? otherwise : Date.parse(text));

/** Trust finds platforms by the names that chains use for them. */
export class Trust {
  constructor(platforms) {
    this.platforms = platforms;
  }

  /** of is the one platform that a host belongs to, by its domain or a listed host. */
  of(host) {
    return this.platforms.find((p) => p.hosts.some((h) => h.name === host.name && (h.port === '' || h.port === host.port)));
  }

  /** name is how the state names a party: localid@ and the domain of its trust entry. */
  name(host) {
    return hostText(this.of(host)?.domain ?? host);
  }
}

export const hostText = (h) => (h.port === '' ? h.name : `${h.name}:${h.port}`);

// A label of a DNS name; two hyphens in the third and fourth place mean an encoded one.
const label = /^(?!-)(?!..--(?<!^xn--))[a-z0-9-]{1,63}(?<!-)$/;

/** sameHost compares two hosts that are normalised. */
export const sameHost = (a, b) => a.name === b.name && a.port === b.port;

/** parseHost reads host[:port]: lower case, IDNA to ASCII, without port 443 and final dot (S8). */
export function parseHost(text) {
  const m = /^([^:]+)(?::([1-9][0-9]{0,4}))?$/u.exec(text);
  if (!m || Buffer.byteLength(text) > 1024 || /[\s/\\?#@%[\]<>^|`{}"]/u.test(m[1])) throw new Malformed('not a host', undefined, 'host');
  const port = m[2] ?? '';
  if (Number(port) > 65535) throw new Malformed('not a port', undefined, 'host');
  const name = domainToASCII(m[1].replace(/\.$/, ''));
  const labels = name.split('.');
  if (name.length > 253 || !labels.every((l) => label.test(l))) throw new Malformed('not a DNS name', undefined, 'host');
  if (/^([0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1))) throw new Malformed('an IP address is not a name', undefined, 'host');
  return { name, port: port === '443' ? '' : port };
}

/** parsePlatformHost reads https://host[:port][/…] or host[:port]. */
export function parsePlatformHost(text) {
  if (Buffer.byteLength(text) > 2048) throw new Malformed('not a platformHost', undefined, 'host');
  const m = /^https:\/\/([^/?#]*)(\/[^?#]*)?$/i.exec(text);
  return parseHost(m ? m[1] : text);
}

const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const dotAtom = new RegExp(`^${atom}(?:\\.${atom})*$`);

/** parseIdentifier reads localid@domain[:port]; the local id keeps its case (S9). */
export function parseIdentifier(text) {
  const at = text.indexOf('@');
  const local = text.slice(0, at);
  if (at < 0 || local.length > 128 || !dotAtom.test(local)) throw new Malformed('not localid@domain', undefined, 'transferee');
  try {
    return { local, host: parseHost(text.slice(at + 1)) };
  } catch (e) {
    throw new Malformed(e.message, undefined, 'transferee');
  }
}

/**
 * keyOfX5C is the key that the message brings, for a platform that is trusted by its authorities: as the
 * trust file lists it, if it does. undefined where x5c cannot be read.
 */
export function keyOfX5C(platform, x5c) {
  if (x5c.length > 10) return undefined;
  try {
    const certificates = x5c.map((text) => {
      const raw = Buffer.from(text, 'base64');
      if (raw.toString('base64') !== text) throw new Malformed('not base64');
      return new Certificate(raw);
    });
    const pub = certificates[0].x509.publicKey;
    const jwk = pub.export({ format: 'jwk' });
    const listed = platform.keys.find((k) => k.public.equals(pub));
    return listed ?? { kty: jwk.kty, crv: jwk.crv, public: pub, notBefore: certificates[0].notBefore, notAfter: certificates[0].notAfter, certificates };
  } catch {
    return undefined;
  }
}

/** candidates are the keys to try: the one that kid names, or up to 16 that fit alg (K1, K3). */
export function candidates(platform, { alg, kid }) {
  if (kid !== undefined) return platform.keys.filter((k) => k.kid === kid);
  return platform.keys.filter((k) => fits(k, alg)).sort((a, b) => b.notBefore - a.notBefore).slice(0, 16);
}
