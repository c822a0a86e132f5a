// A receiver in memory: what a platform answers to PUT /v1/transferblocks, request after request
// (docs/PROTOCOL.md, C5 to C8 and R1 to R14). It signs nothing; an answer is the object itself,
// and "the same answer" is the same object.
import { readBlock } from './block.mjs';
import { Malformed } from './json.mjs';
import { sha256 } from './jws.mjs';
import { hostText } from './trust.mjs';
import { checkNewest, checkRest, Refused, signerOf } from './verify.mjs';

const unsigned = (status, code, text) => ({ status, code, text });
const statuses = { BSIG: 422, BENV: 422, DISE: 409 };
const codes = { BSIG: 8001, BENV: 8002, DISE: 8003 };
const signedNo = (responseCode, text, envelopeHash) => ({ status: statuses[responseCode], code: codes[responseCode], text, responseCode, envelopeHash });

export class Receiver {
  constructor({ domain, users, trust, now, settings = {}, before = [] }) {
    Object.assign(this, { domain, users, trust, now, settings, asked: new Map(), verdicts: new Map(), requests: new Map(), forged: new Map(), answers: new Map(), accepted: new Map(), bills: new Map() });
    for (const b of before) this.remember(b);
  }

  // remember takes over a bill that it had a part in before: {bytes, issuer, verdict, answersLost}.
  remember({ bytes, issuer, verdict, answersLost }) {
    const block = readBlock(bytes);
    const state = checkRest(block, this.trust, this.now);
    const chain = block.entries.map((e) => sha256(e.jws.payload));
    if (verdict !== undefined) Object.assign(state, { status: 'void', possessor: '' });
    this.bills.set(state.documentHash, { chain, reference: block.document.reference, state, issuer });
    block.entries.forEach((e, i) => {
      if (!answersLost && hostText(e.transactions.at(-1).transferee.host) === this.domain) this.answers.set(chain[i], { status: 200, receipt: e.claimed });
    });
  }

  /** put answers one request. */
  put({ sender, method = 'PUT', path = '/v1/transferblocks', headers = {}, bytes }) {
    return this.access(sender, headers) ?? this.request(method, path, headers) ?? this.size(bytes) ?? this.block(sender, bytes);
  }

  // access: a token, where one is wanted, and not too many requests of one peer. No second passes here, so that of a rate
  // nothing is seen but how many may come at once. What a good token is, only who made it knows.
  access(sender, headers) {
    const bearer = /^Bearer ./i.test(headers.Authorization ?? '');
    if (this.settings.tokens) return unsigned(401, 7101, bearer ? 'tokenInvalid' : 'tokenRequired');
    const n = (this.asked.get(sender) ?? 0) + 1;
    this.asked.set(sender, n);
    return n > (this.settings.burst ?? Infinity) ? unsigned(429, 7129, 'tooManyRequests') : undefined;
  }

  size(bytes) {
    return bytes.length > (this.settings.body ?? 8 << 20) ? unsigned(413, 7113, 'tooLarge') : undefined;
  }

  request(method, path, headers) {
    if (!['/v1/transferblocks', '/v1/transferblock'].includes(path)) return unsigned(404, 7104, 'notFound');
    if (method !== 'PUT') return unsigned(405, 7105, 'methodNotAllowed');
    if ((headers['API-Version'] ?? '1') !== '1') return unsigned(400, 7002, 'unsupportedApiVersion');
    const plain = /^application\/json(\s*;\s*charset="?utf-8"?)?$/i.test(headers['Content-Type'] ?? 'application/json');
    if (!plain || headers['Content-Encoding'] !== undefined) return unsigned(415, 7115, 'unsupportedMediaType');
    return undefined;
  }

  block(sender, bytes) {
    let block;
    try {
      block = readBlock(bytes);
    } catch (e) {
      if (e instanceof Malformed) return unsigned(400, 7001, 'malformed');
      throw e;
    }
    const same = JSON.stringify([sender, block.document.text, block.entries.map((e) => [e.claimed, e.jws.text, e.besideText])]);
    if (this.requests.has(same)) return this.requests.get(same);
    const answer = this.judge(sender, block);
    if (answer.receipt || answer.responseCode) this.requests.set(same, answer);
    return answer;
  }

  judge(sender, block) {
    const newest = block.entries.at(-1);
    const hash = sha256(newest.jws.payload);
    const bytes = `${sender} ${newest.jws.text}`;
    if (this.forged.has(bytes)) return this.forged.get(bytes);
    try {
      checkNewest(block, this.trust, sender, this.answers.get(hash)?.receipt ? 0n : this.now);
    } catch (e) {
      return this.stranger(e, hash, bytes);
    }
    // From here on the sender has signed for it: an envelope that has an answer gets it.
    if (this.answers.has(hash)) return this.answers.get(hash);
    const answer = this.ration(sender, this.decide(block, hash));
    if (answer.receipt || answer.responseCode === 'BENV') this.answers.set(hash, answer);
    return answer;
  }

  // ration: so many new signed noes of a peer an hour, and no more.
  ration(sender, answer) {
    if (!answer.responseCode) return answer;
    const n = (this.verdicts.get(sender) ?? 0) + 1;
    if (n > (this.settings.verdictsPerHour ?? 1000)) return unsigned(429, 7129, 'tooManyRequests');
    this.verdicts.set(sender, n);
    return answer;
  }

  stranger(e, hash, bytes) {
    if (!(e instanceof Refused)) throw e;
    if (e.reason === 'revocationUnknown') return unsigned(503, 7503, 'unavailable');
    if (e.reason !== 'badSignature') return unsigned(403, 7103, e.reason === 'platformNotTrusted' ? 'signerMismatch' : e.reason);
    if (this.answers.get(hash)?.receipt) return unsigned(422, 8001, 'badSignature');
    const no = signedNo('BSIG', 'badSignature', hash);
    this.forged.set(bytes, no);
    return no;
  }

  decide(block, hash) {
    const newest = block.entries.at(-1);
    let state;
    try {
      state = checkRest(block, this.trust, this.now);
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      if (e.reason === 'revocationUnknown') return unsigned(503, 7503, 'unavailable');
      if (['unknownKey', 'keyCompromised'].includes(e.reason)) return unsigned(403, 7103, e.reason);
      return signedNo('BENV', e.law ? `${e.reason}/${e.law}` : e.reason, hash);
    }
    const { instruction, transferee: { local, host } } = newest.transactions.at(-1);
    const known = this.bills.get(state.documentHash);
    if (hostText(host) !== this.domain) return signedNo('BENV', 'notForUs', hash);
    if (!this.users.includes(local)) return signedNo('BENV', 'transfereeNotAccepted', hash);
    if (['SURR', 'AMND', 'SW2P'].includes(instruction) && known?.issuer !== local) return signedNo('BENV', 'notTheIssuer', hash);
    // Our own signature, of which we know nothing: somebody has our key, or we have lost our records.
    const own = block.entries.some((e) => hostText(signerOf(e, this.trust).domain) === this.domain && !known?.chain.includes(sha256(e.jws.payload)));
    if (own) return unsigned(503, 7503, 'quarantine');
    return this.compare(block, state, hash);
  }

  compare(block, state, hash) {
    const chain = block.entries.map((e) => sha256(e.jws.payload));
    const known = this.bills.get(state.documentHash);
    if (known && known.chain.some((h, i) => i < chain.length && h !== chain[i])) return signedNo('DISE', 'forked', hash);
    if (known && chain.length < known.chain.length) return signedNo('DISE', 'behind', hash);
    if (known?.state.status === 'void') return signedNo('BENV', 'unlawful/billVoid', hash);
    const { reference } = block.document;
    const other = [...this.bills.values()].find((b) => b.reference === reference && b.state.documentHash !== state.documentHash);
    if (reference !== undefined && other) return signedNo('BENV', 'referenceInUse', hash);
    this.bills.set(state.documentHash, { ...known, chain, reference, state });
    return { status: 200, receipt: block.entries.at(-1).claimed };
  }

  /** held is what it knows of its bills, in the words of the vectors. */
  held() {
    return [...this.bills.values()].map(({ state }) => ({ documentHash: state.documentHash, possessor: state.possessor, status: state.status, head: state.head, length: state.length }));
  }
}
