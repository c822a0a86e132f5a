// Makes bills and the evidence about them, good and bad, with the test keys. It shares nothing
// with the program that makes the other half of the bundles.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { canonical, parse } from './json.mjs';
import { sha256 } from './jws.mjs';
import { algOf, signature } from './sign.mjs';

const data = fileURLToPath(new URL('../testdata/', import.meta.url));

const keys = new Map();
export function key(name) {
  if (!keys.has(name)) keys.set(name, JSON.parse(readFileSync(`${data}keys/${name}.json`, 'utf8')));
  return keys.get(name);
}

/** x5c are the certificates that a vector of the family ca brings. */
export function x5c(name) {
  const v = JSON.parse(readFileSync(`${data}ca/${name}.json`, 'utf8'));
  return JSON.parse(Buffer.from(v.input.endorsementChain[0].signature.split('.')[0], 'base64url')).x5c;
}

/** answered is a vector of the family ocsp: the answer, and the certificate that it is about; base64. */
export function answered(name) {
  const v = JSON.parse(readFileSync(`${data}ocsp/${name}.json`, 'utf8'));
  return { answer: v.inputBase64, leaf: v.certificate };
}

const b64 = (text) => Buffer.from(text).toString('base64url');

/** jws signs payload (a string) with that test key; edit changes the header. */
export function jws(keyName, payload, edit = {}) {
  const jwk = key(keyName);
  const header = { alg: algOf(jwk), kid: keyName, ...edit };
  for (const m of Object.keys(header)) if (header[m] === undefined) delete header[m];
  const text = `${b64(JSON.stringify(header))}.${b64(payload)}`;
  return `${text}.${signature(jwk, text).toString('base64url')}`;
}

/** wrong is the JWS with the signature of something else. */
export function wrong(text, keyName) {
  const [h, p] = text.split('.');
  return `${h}.${p}.${signature(key(keyName), 'something else').toString('base64url')}`;
}

export const start = Date.parse('2026-06-01T08:00:00Z');
export const minute = (m) => start + Math.round(m * 60000);
export const iso = (m) => new Date(minute(m)).toISOString();
const seconds = (m) => Math.floor(minute(m) / 1000);

export const who = { shipper: 'shipper@carrier.example', agent: 'agent@carrier.example', ben: 'ben@bank.example', bea: 'bea@bank.example', tess: 'tess@trade.example' };
export const platforms = { carrier: 'carrier.example', bank: 'bank.example', trade: 'trade.example' };
export const keyOf = { carrier: 'carrier-1', bank: 'bank-1', trade: 'trade-1' };

/** tx is a transaction of a platform, so many minutes after the start. */
export function tx(instruction, platform, transferee, m, edit = {}) {
  const t = { instruction, isToOrder: true, platformHost: `https://${platforms[platform]}`, timestamp: minute(m), transferee: who[transferee] ?? transferee, ...edit };
  for (const name of Object.keys(t)) if (t[name] === undefined) delete t[name];
  return t;
}

const digest = (jwsText) => sha256(Buffer.from(jwsText.split('.')[1], 'base64url'));

/** Evidence is a bundle in the making. What is wrong in it, its caller puts there. */
export class Evidence {
  constructor(document = { carrierCode: 'CARR', isToOrder: true, transportDocumentReference: 'TD-2026-9' }) {
    this.documentHash = sha256(canonical(parse(JSON.stringify(document))));
    this.file = {
      format: 'eblnode-bundle/1',
      made: { by: 'bank.example', at: iso(200), selection: 'bill' },
      documentHash: this.documentHash,
      document,
      chain: [],
      steps: [],
      receipts: [],
      rejections: [],
      branches: [],
      certificates: [],
      ocsp: [],
      checks: [],
      trust: [],
    };
  }

  /** payload is the next eblEnvelope. */
  payload(txs, edit = {}) {
    const p = { documentHash: this.documentHash, previousEnvelopeHash: this.file.chain.at(-1)?.envelopeHash ?? null, transactions: txs, ...edit };
    for (const name of Object.keys(p)) if (p[name] === undefined) delete p[name];
    return JSON.stringify(p);
  }

  /** seal adds an entry, signed with the key of that platform, or with another. */
  seal(platform, txs, { payload, header, by } = {}) {
    const text = this.payload(txs, payload);
    this.file.chain.push({ envelopeHash: sha256(text), signature: jws(by ?? keyOf[platform], text, header) });
    return this;
  }

  /** step adds a transaction inside a platform. */
  step(platform, t, { payload, header, by } = {}) {
    const { chain, steps } = this.file;
    const p = { documentHash: this.documentHash, index: steps.length, transaction: t };
    if (chain.length) p.head = digest(chain.at(-1).signature);
    if (steps.length) p.previous = sha256(steps.at(-1));
    Object.assign(p, payload);
    for (const name of Object.keys(p)) if (p[name] === undefined) delete p[name];
    steps.push(jws(by ?? keyOf[platform], JSON.stringify(p), { typ: 'eblnode-step+jws', ...header }));
    return this;
  }

  /** receipt adds the addressee's yes to entry i. */
  receipt(i, platform, m, { header, by, payload } = {}) {
    this.file.receipts.push(jws(by ?? keyOf[platform], payload ?? this.file.chain[i].envelopeHash, { iat: seconds(m), typ: 'eblnode-receipt+jws', ...header }));
    return this;
  }

  /** rejection adds a no to that JWS. */
  rejection(text, from, to, m, code, { payload, header, by } = {}) {
    const p = { envelopeHash: digest(text), errorDateTime: iso(m), jwsSha256: sha256(text), reason: 'transfereeNotAccepted', receiver: platforms[to], responseCode: code, sender: platforms[from], ...payload };
    for (const name of Object.keys(p)) if (p[name] === undefined) delete p[name];
    this.file.rejections.push(jws(by ?? keyOf[to], JSON.stringify(p), { iat: seconds(m), typ: 'eblnode-rejection+jws', ...header }));
    return this;
  }

  /** verdict adds the carrier's. */
  verdict(kind, m, { payload, header, by } = {}) {
    const p = { at: iso(m), documentHash: this.documentHash, envelopeHash: this.file.chain.length ? digest(this.file.chain.at(-1).signature) : undefined, verdict: kind, ...payload };
    for (const name of Object.keys(p)) if (p[name] === undefined) delete p[name];
    this.file.verdict = jws(by ?? 'carrier-1', JSON.stringify(p), { iat: seconds(m), typ: 'eblnode-verdict+jws', ...header });
    return this;
  }

  /** branch adds another continuation: entries are [platform, txs, options]. */
  branch(at, entries, from = 'trade.example') {
    let previous = this.file.chain[at - 1]?.envelopeHash ?? null;
    const list = entries.map(([platform, txs, { payload, header, by } = {}]) => {
      const text = JSON.stringify({ documentHash: this.documentHash, previousEnvelopeHash: previous, transactions: txs, ...payload });
      previous = sha256(text);
      return jws(by ?? keyOf[platform], text, header);
    });
    this.file.branches.push({ from, at, entries: list });
    return this;
  }

  /** set changes the file. */
  set(change) {
    change(this.file);
    return this;
  }

  /** text is the file, with the maker's signature. */
  text({ sign = true } = {}) {
    const body = JSON.stringify(this.file);
    if (!sign) return body;
    const { by, at } = this.file.made;
    const claim = JSON.stringify({ at, bundleSha256: sha256(canonical(parse(body, 80))), by });
    const signed = { ...this.file, signature: jws('bank-1', claim, { iat: seconds(200), typ: 'eblnode-bundle+jws' }) };
    return JSON.stringify(signed);
  }
}

/** long is a bill over three platforms: carrier to bank, bank to trade, trade back to bank, and a step there. */
export function long({ steps = true } = {}) {
  const e = new Evidence()
    .seal('carrier', [tx('ISSU', 'carrier', 'shipper', 0), tx('TRNS', 'carrier', 'ben', 1)])
    .seal('bank', [tx('TRNS', 'bank', 'tess', 10)])
    .seal('trade', [tx('TRNS', 'trade', 'ben', 20)])
    .receipt(0, 'bank', 2).receipt(1, 'trade', 11).receipt(2, 'bank', 21);
  return steps ? e.step('bank', tx('TRNS', 'bank', 'bea', 30)) : e;
}

/** returned is a bill that ben returned to the carrier, who honoured that. */
export function returned(instruction = 'SURR', kind = 'surrendered') {
  const e = new Evidence()
    .seal('carrier', [tx('ISSU', 'carrier', 'shipper', 0), tx('TRNS', 'carrier', 'ben', 1)])
    .seal('bank', [tx(instruction, 'bank', 'shipper', 10)])
    .receipt(0, 'bank', 2).receipt(1, 'carrier', 11);
  return kind ? e.verdict(kind, 20) : e;
}

/** atHome is a bill that never left its platform. */
export function atHome() {
  return new Evidence().step('carrier', tx('ISSU', 'carrier', 'shipper', 0)).step('carrier', tx('TRNS', 'carrier', 'agent', 5));
}
