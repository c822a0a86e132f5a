// A bill as a bundle of somebody else's tells it, to be spoilt in one place and signed anew around that
// place, with the keys of the platforms in it. What a real node wrote stays as it is as far as it can.
import { createPrivateKey, sign } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { canonical, parse } from './json.mjs';
import { sha256 } from './jws.mjs';

const b64 = (text) => Buffer.from(text).toString('base64url');
const partOf = (jws, i) => Buffer.from(jws.split('.')[i], 'base64url').toString();

/** payloadOf and headerOf read a JWS. */
export const payloadOf = (jws) => JSON.parse(partOf(jws, 1));
export const headerOf = (jws) => JSON.parse(partOf(jws, 0));
export const hashOf = (jws) => sha256(Buffer.from(jws.split('.')[1], 'base64url'));

/** keysBelow finds the signing key of each platform in the data folders below dir: by its domain. */
export function keysBelow(dir) {
  const keys = new Map();
  for (const folder of readdirSync(dir, { withFileTypes: true }).filter((f) => f.isDirectory())) {
    const home = join(dir, folder.name);
    const domain = /^domain:\s*"?([^"\s]+)/m.exec(readFileSync(join(home, 'eblnode.yaml'), 'utf8'))[1];
    const file = readdirSync(join(home, 'keys')).find((f) => /^signing-.*\.key$/.test(f));
    keys.set(domain, { kid: basename(file, '.key').slice('signing-'.length), key: createPrivateKey(readFileSync(join(home, 'keys', file))) });
  }
  return keys;
}

/** jwsBy signs a text with a key of a platform; edit changes the header. */
export function jwsBy({ kid, key }, payload, edit = {}) {
  const header = { alg: key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256', kid, ...edit };
  for (const m of Object.keys(header)) if (header[m] === undefined) delete header[m];
  const text = `${b64(JSON.stringify(header))}.${b64(payload)}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

/** otherSignature puts the signature of something else under a JWS. */
export const otherSignature = (jws, key) => `${jws.split('.').slice(0, 2).join('.')}.${jwsBy(key, 'something else').split('.')[2]}`;

const clean = (o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));

/** Spoilt is a bundle under change. file is its JSON value; a method that signs anew what others refer to leaves the others to its caller. */
export class Spoilt {
  constructor(text, keys, stranger) {
    this.file = JSON.parse(text);
    this.file.documentHash ??= sha256(canonical(parse(JSON.stringify(this.file.document))));
    Object.assign(this, { keys, stranger });
  }

  payload(i) {
    return payloadOf(this.file.chain.at(i).signature);
  }

  /** signer is the domain whose key signed entry i. */
  signer(i) {
    return this.payload(i).transactions[0].platformHost.replace('https://', '');
  }

  addressee(i) {
    const { transferee } = this.payload(i).transactions.at(-1);
    return (transferee.eBLPlatformIdentifier ?? transferee).split('@')[1];
  }

  /** time is that of the last transaction of entry i, in milliseconds. */
  time(i) {
    return this.payload(i).transactions.at(-1).timestamp;
  }

  /** cut keeps the first n entries, and the receipts and checks that belong to them. */
  cut(n) {
    const { file } = this;
    file.chain = file.chain.slice(0, n);
    const hashes = new Set(file.chain.map((e) => e.envelopeHash));
    file.receipts = (file.receipts ?? []).filter((r) => hashes.has(partOf(r, 1)));
    Object.assign(file, { steps: [], rejections: [], branches: [] });
    delete file.verdict;
    return this.bare();
  }

  /** bare drops what belongs to the bytes before the change: nothing depends on it here. */
  bare() {
    Object.assign(this.file, { checks: [], certificates: [], ocsp: [] });
    delete this.file.signature;
    return this;
  }

  /** tx is a transaction some seconds after the last one of the chain. */
  tx(instruction, domain, transferee, seconds = 1, edit = {}) {
    return clean({ instruction, isToOrder: true, platformHost: `https://${domain}`, timestamp: this.time(-1) + seconds * 1000, transferee, ...edit });
  }

  /** seal adds an entry by the platform of that domain; options: payload and header edits, another key. */
  seal(domain, transactions, { payload, header, by } = {}) {
    const text = JSON.stringify(clean({ documentHash: this.file.documentHash, previousEnvelopeHash: this.file.chain.at(-1)?.envelopeHash ?? null, transactions, ...payload }));
    this.file.chain.push({ envelopeHash: sha256(text), signature: jwsBy(by ?? this.keys.get(domain), text, header) });
    return this;
  }

  /** again signs the last entry anew, with its payload changed. */
  again(change, options = {}) {
    const domain = this.signer(-1);
    const p = payloadOf(this.file.chain.pop().signature);
    this.dropReceipts();
    change(p.transactions.at(-1), p);
    return this.seal(domain, p.transactions, { ...options, payload: { ...p, ...options.payload } });
  }

  // dropReceipts: those of entries that are gone.
  dropReceipts() {
    const hashes = new Set(this.file.chain.map((e) => e.envelopeHash));
    this.file.receipts = this.file.receipts.filter((r) => hashes.has(partOf(r, 1)));
  }

  receipt(i, { payload, header, by, iat } = {}) {
    const at = iat ?? Math.floor(this.time(i) / 1000);
    this.file.receipts.push(jwsBy(by ?? this.keys.get(this.addressee(i)), payload ?? this.file.chain.at(i).envelopeHash, { iat: at, typ: 'eblnode-receipt+jws', ...header }));
    return this;
  }

  rejection(i, responseCode, { payload, header, by, iat } = {}) {
    return this.rejectionOf(this.file.chain.at(i).signature, this.signer(i), this.addressee(i), responseCode, { payload, header, by, iat });
  }

  rejectionOf(text, sender, receiver, responseCode, { payload, header, by, iat } = {}) {
    const at = payloadOf(text).transactions.at(-1).timestamp;
    const p = { envelopeHash: hashOf(text), errorDateTime: new Date(at).toISOString(), jwsSha256: sha256(text), reason: 'transfereeNotAccepted', receiver, responseCode, sender, ...payload };
    this.file.rejections.push(jwsBy(by ?? this.keys.get(receiver), JSON.stringify(p), { iat: iat ?? Math.floor(at / 1000), typ: 'eblnode-rejection+jws', ...header }));
    return this;
  }

  step(domain, transaction, { payload, header, by } = {}) {
    const { chain, steps } = this.file;
    const p = clean({ documentHash: this.file.documentHash, index: steps.length, head: chain.length ? hashOf(chain.at(-1).signature) : undefined, previous: steps.length ? sha256(steps.at(-1)) : undefined, transaction, ...payload });
    steps.push(jwsBy(by ?? this.keys.get(domain), JSON.stringify(p), { typ: 'eblnode-step+jws', ...header }));
    return this;
  }

  /** verdict is the carrier's, anew. */
  verdict(verdict, { payload, header, by } = {}) {
    const p = clean({ at: new Date(this.time(-1)).toISOString(), documentHash: this.file.documentHash, envelopeHash: hashOf(this.file.chain.at(-1).signature), verdict, ...payload });
    this.file.verdict = jwsBy(by ?? this.keys.get(this.signer(0)), JSON.stringify(p), { iat: Math.floor(this.time(-1) / 1000), typ: 'eblnode-verdict+jws', ...header });
    return this;
  }

  /** branch adds another continuation after entry at-1: entries are [domain, transactions, options]. */
  branch(at, entries) {
    let previous = this.file.chain[at - 1]?.envelopeHash ?? null;
    const list = entries.map(([domain, transactions, { payload, header, by } = {}]) => {
      const text = JSON.stringify({ documentHash: this.file.documentHash, previousEnvelopeHash: previous, transactions, ...payload });
      previous = sha256(text);
      return jwsBy(by ?? this.keys.get(domain), text, header);
    });
    this.file.branches.push({ from: '', at, entries: list });
    return this;
  }

  set(change) {
    change(this.file);
    return this;
  }

  /** text is the file; from and to change a piece of it. */
  text(from, to) {
    const text = JSON.stringify(this.file);
    if (from === undefined) return text;
    const out = text.replace(from, to);
    if (out === text) throw new Error(`nothing to change: ${from}`);
    return out;
  }
}
