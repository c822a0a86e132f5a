// Certificates of keys that are trusted by an authority (K7): a little DER, the path to an anchor,
// and the rules of the path. node:crypto reads keys and checks signatures; what it does not show
// (extensions, the algorithm of the signature) is read here.
import { X509Certificate } from 'node:crypto';

/** der reads one element: its tag, its content, and where it ends. */
export function der(bytes, at = 0) {
  let length = bytes[at + 1];
  let start = at + 2;
  if (length & 0x80) {
    const n = length & 0x7f;
    length = bytes.subarray(start, start + n).readUIntBE(0, n);
    start += n;
  }
  if (!(start + length <= bytes.length)) throw new Error('cut DER');
  return { tag: bytes[at], content: bytes.subarray(start, start + length), end: start + length, whole: bytes.subarray(at, start + length) };
}

/** children are the elements in a row. */
export function children(bytes) {
  const out = [];
  for (let at = 0; at < bytes.length; at = out.at(-1).end) out.push(der(bytes, at));
  return out;
}

/** oid writes an object identifier with dots. */
export function oid(bytes) {
  const out = [Math.min(2, Math.floor(bytes[0] / 40)), bytes[0] - 40 * Math.min(2, Math.floor(bytes[0] / 40))];
  let n = 0;
  for (const b of bytes.subarray(1)) {
    n = n * 128 + (b & 0x7f);
    if (!(b & 0x80)) {
      out.push(n);
      n = 0;
    }
  }
  return out.join('.');
}

// Signature algorithms with SHA-256 or better; PSS (…1.1.10) names its hash in its parameters.
const algorithms = new Set(['1.2.840.113549.1.1.11', '1.2.840.113549.1.1.12', '1.2.840.113549.1.1.13', '1.2.840.113549.1.1.10', '1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4']);

const names = { basic: '2.5.29.19', keyUsage: '2.5.29.15', extKeyUsage: '2.5.29.37', altName: '2.5.29.17', constraints: '2.5.29.30' };
const signing = ['2.5.29.37.0', '1.3.6.1.5.5.7.3.4', '1.3.6.1.5.5.7.3.36']; // any, mail, documents

/** Certificate is one, read. */
export class Certificate {
  constructor(raw) {
    this.x509 = new X509Certificate(raw);
    this.raw = this.x509.raw;
    const [tbs, alg] = children(der(this.raw).content);
    const fields = children(tbs.content);
    if (fields[0].tag === 0xa0) fields.shift(); // version
    this.algorithm = oid(children(alg.content)[0].content);
    this.serial = fields[0].content;
    [this.issuer, this.subject] = [fields[2].whole, fields[4].whole];
    this.notBefore = Date.parse(this.x509.validFrom);
    this.notAfter = Date.parse(this.x509.validTo);
    this.extensions = new Map();
    const list = fields.find((f) => f.tag === 0xa3);
    for (const e of list ? children(children(list.content)[0].content) : []) {
      const parts = children(e.content);
      this.extensions.set(oid(parts[0].content), { critical: parts.length === 3 && parts[1].content[0] !== 0, value: parts.at(-1).content });
    }
  }

  // value is the inside of an extension, or undefined.
  value(name) {
    const e = this.extensions.get(names[name]);
    return e && der(e.value);
  }

  /** basic says whether it is an authority's, and how many may follow below it. */
  get basic() {
    const parts = this.value('basic') ? children(this.value('basic').content) : [];
    const pathLength = parts.find((p) => p.tag === 2);
    return { ca: parts.some((p) => p.tag === 1 && p.content[0] !== 0), most: pathLength ? pathLength.content[0] : Infinity };
  }

  /** uses says whether a bit of the key usage is set; without the extension none is. */
  uses(bit) {
    const bits = this.value('keyUsage')?.content;
    return bits !== undefined && ((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0;
  }

  get hasKeyUsage() {
    return this.extensions.has(names.keyUsage);
  }

  /** extKeyUsages are all that it names. */
  get extKeyUsages() {
    const e = this.value('extKeyUsage');
    return e ? children(e.content).map((u) => oid(u.content)) : [];
  }

  /** responders are the http addresses of its OCSP responders. */
  get responders() {
    const e = this.extensions.get('1.3.6.1.5.5.7.1.1');
    const list = e ? children(der(e.value).content).map((d) => children(d.content)) : [];
    return list.filter(([type, where]) => oid(type.content) === '1.3.6.1.5.5.7.48.1' && where.tag === 0x86).map(([, where]) => where.content.toString('latin1')).filter((url) => /^https?:\/\/[^@]+$/.test(url));
  }

  /** maySign: no extended key usage, or one that allows documents or mail to be signed. */
  get maySign() {
    const e = this.value('extKeyUsage');
    return e === undefined || children(e.content).some((u) => signing.includes(oid(u.content)));
  }

  /** dnsNames are the DNS names among the subject's alternative names. */
  get dnsNames() {
    const e = this.value('altName');
    return e ? children(e.content).filter((n) => n.tag === 0x82).map((n) => n.content.toString('latin1').toLowerCase()) : [];
  }

  /** constraints are the DNS names that may and may not stand below an authority. */
  get constraints() {
    const e = this.value('constraints');
    const list = (tag) => (e ? children(e.content) : []).filter((p) => p.tag === tag).flatMap((p) => children(p.content).map((s) => children(s.content)[0])).filter((n) => n.tag === 0x82).map((n) => n.content.toString('latin1').toLowerCase());
    return { permitted: list(0xa0), excluded: list(0xa1) };
  }

  /** signsItself: equal names alone prove nothing, since an authority may sign under its own name. */
  get signsItself() {
    return this.issuer.equals(this.subject) && this.x509.verify(this.x509.publicKey);
  }

  /** signedBy says whether another one, an authority's, signed it. */
  signedBy(other) {
    const ca = other.basic.ca && (!other.extensions.has(names.keyUsage) || other.uses(5));
    return ca && this.issuer.equals(other.subject) && this.x509.verify(other.x509.publicKey);
  }

  validAt(ms) {
    return this.notBefore <= ms && ms <= this.notAfter + 999;
  }
}

/**
 * keepsPolicy is the policy of a certificate by itself: key, algorithm, serial number, lifetime, extensions. Of an anchor only
 * its key counts, and of a responder not how long it lives.
 */
export function keepsPolicy(c, { keyOnly = false, lifetime = true } = {}) {
  const { asymmetricKeyType: type, asymmetricKeyDetails: d } = c.x509.publicKey;
  const key = type === 'rsa' ? d.modulusLength >= 2048 && d.modulusLength <= 8192 && d.publicExponent >= 65537n : type === 'ec' && ['prime256v1', 'secp384r1', 'secp521r1'].includes(d.namedCurve);
  if (keyOnly) return key;
  const serial = c.serial.length <= 20 && c.serial[0] < 0x80 && c.serial.some((b) => b !== 0);
  const known = [...c.extensions].every(([id, e]) => !e.critical || Object.values(names).includes(id) || id === '1.3.6.1.5.5.7.48.1.5');
  return key && serial && known && algorithms.has(c.algorithm) && (!lifetime || c.notAfter - c.notBefore <= 731 * 86400_000 + 1000);
}

// A dot before the domain asks for a label more.
const below = (name, domain) => domain === '' || name === domain || name.endsWith(domain.startsWith('.') ? domain : `.${domain}`);

function namesAllowed(leaf, path) {
  return path.slice(1).every((c) => {
    const { permitted, excluded } = c.constraints;
    return leaf.dnsNames.every((n) => (permitted.length === 0 || permitted.some((d) => below(n, d))) && !excluded.some((d) => below(n, d)));
  });
}

// paths are all rows of certificates from the leaf to an anchor, each signed by the next; those that a hundred signatures find, since
// whoever sends certificates can send some that make millions of rows.
function paths(leaf, between, anchors) {
  const distinct = between.filter((c, i) => between.findIndex((b) => b.raw.equals(c.raw)) === i);
  let left = 100;
  const signs = (parent, c) => c.issuer.equals(parent.subject) && left-- > 0 && c.signedBy(parent);
  const rows = (row) => {
    const last = row.at(-1);
    if (row.length > 21) return [];
    const ends = anchors.filter((a) => signs(a, last)).map((a) => [...row, a]);
    const next = distinct.filter((c) => !row.includes(c) && signs(c, last));
    return [...ends, ...next.flatMap((c) => rows([...row, c]))];
  };
  return rows([leaf]);
}

// keepsIssuerPolicy: of what stands above a leaf the key and the algorithm count, and the latter not where it signed itself.
const keepsIssuerPolicy = (c) => keepsPolicy(c, { keyOnly: true }) && (c.issuer.equals(c.subject) || algorithms.has(c.algorithm));

/**
 * judgePath: {path} where the leaf is good for that platform at that time (ms), with what must be asked about its
 * certificates ({certificate, issuer}); else {part}: 'anchor' or 'certificate'. others may stand in the path, beside those of the key.
 */
export function judgePath([leaf, ...between], others, { anchors, shortLived, responder }, domain, ms) {
  const own = keepsPolicy(leaf) && !leaf.basic.ca && (leaf.uses(0) || leaf.uses(1)) && leaf.maySign && leaf.dnsNames.includes(domain) && leaf.validAt(ms);
  if (!own || !between.every(keepsIssuerPolicy)) return { part: 'certificate' };
  const found = anchors.some((a) => a.raw.equals(leaf.raw)) ? [[leaf]] : paths(leaf, [...between, ...others.filter(keepsIssuerPolicy)], anchors);
  if (found.length === 0) return { part: 'anchor' };
  // authorities below each: the leaf is not one
  const good = (path) => path.every((c, i) => c.validAt(ms) && c.maySign && (i === 0 || i - 1 <= c.basic.most)) && namesAllowed(leaf, path);
  const path = found.find(good);
  if (!path) return { part: 'certificate' };
  // Somebody must be able to say whether it was revoked, unless it is the anchor.
  const asked = path.length > 1 && !passedOver(leaf, shortLived);
  if (asked && !responder && leaf.responders.length === 0) return { part: 'certificate' };
  const questions = path.slice(0, -1).flatMap((c, i) => ((i === 0 ? asked : c.responders.length) ? [{ certificate: c, issuer: path[i + 1] }] : []));
  return { path, questions };
}

// passedOver: it lives a week at most, and the trust file passes over those.
const passedOver = (leaf, shortLived) => shortLived && leaf.notAfter - leaf.notBefore <= 7 * 86400_000;

/** questionsOf are what must be asked about the certificate of a pinned key, which nobody leads to an anchor. */
export function questionsOf([leaf, ...others], { anchors, shortLived, responder }) {
  if (!leaf || leaf.signsItself || passedOver(leaf, shortLived) || !(responder || leaf.responders.length)) return [];
  const issuer = [...others.slice(0, 1), ...anchors].find((c) => leaf.signedBy(c));
  return [{ certificate: leaf, issuer }];
}
