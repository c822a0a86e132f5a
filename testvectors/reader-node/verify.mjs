// The checks of a block after its shape: who sent and signed it, hashes and links, and the law
// of the bill. The first check that fails is the answer (P6).
import { equal } from './json.mjs';
import { fits, sha256, signatureHolds } from './jws.mjs';
import { judgePath, questionsOf } from './certificates.mjs';
import { newestOf, stolen } from './ocsp.mjs';
import { candidates, hostText, keyOfX5C } from './trust.mjs';

/** Refused is a block that has the right shape and is not accepted. */
export class Refused extends Error {
  constructor(reason, place = {}) {
    super(reason);
    Object.assign(this, { reason, ...place });
  }
}

export const minutes5 = 5n * 60n * 1000000000n;

/** verifyBlock gives the state of the bill, or throws Refused. now is in ns since 1970. */
export function verifyBlock(block, trust, { now, sender }) {
  checkNewest(block, trust, sender, now);
  return checkRest(block, trust, now);
}

/**
 * checkNewest is checks 6 and 7: who sent and signed the newest entry. With arrived, the time (ns) at
 * which a receiver sees it first, its key must not have been revoked by then (K5).
 */
export function checkNewest({ entries }, trust, sender, arrived) {
  const last = entries.length - 1;
  checkSender(entries[last], last, trust, sender);
  const key = checkEntrySignature(entries[last], last, trust, 'badSignature');
  if (sender !== undefined && key.revoked !== undefined && arrived >= ns(key.revoked)) throw new Refused('badSignature', { entry: last });
}

/** checkRest is checks 8 to 10. */
export function checkRest(block, trust, now) {
  block.entries.slice(0, -1).forEach((e, i) => checkEntrySignature(e, i, trust, 'badChainSignature'));
  checkHashes(block, trust);
  checkIssuer(block, trust);
  return applyLaw(block, trust, now);
}

// signerOf: the platform of an entry is that of its first transaction's platformHost; that the
// others belong to it is part of the law (P3).
export const signerOf = (entry, trust) => trust.of(entry.transactions[0].host);

function checkSender(entry, i, trust, sender) {
  const p = signerOf(entry, trust);
  if (sender !== undefined && (!p || hostText(p.domain) !== sender)) throw new Refused('signerMismatch', { entry: i });
}

function checkEntrySignature(entry, i, trust, bad) {
  const p = signerOf(entry, trust);
  if (!p) throw new Refused('platformNotTrusted', { entry: i });
  const { key, reason, questions } = whoSigned(entry.jws, p, signedAt(entry));
  if (reason) throw new Refused(reason === 'badSignature' ? bad : reason, { entry: i });
  // A block brings no answers of responders.
  if (questions.length) throw new Refused('revocationUnknown', { entry: i });
  return key;
}

/** signedAt is the time of an entry: that of its last transaction. */
export const signedAt = (entry) => entry.transactions.at(-1).time;

/**
 * whoSigned gives the key of the platform that made the signature. Where that does not count at that
 * time (ns since 1970), there are a reason and a part too. Signature, window, theft, other revocation:
 * in this order. others are certificates that may stand in a path, and are believed no more than those of x5c.
 */
export function whoSigned(jws, platform, when, others = []) {
  let named = jws.header.kid !== undefined;
  let keys = candidates(platform, jws.header);
  if (platform.ca && jws.header.x5c?.length && (!named || keys.length === 0)) {
    const brought = keyOfX5C(platform, jws.header.x5c);
    if (!brought) return { reason: 'badSignature', part: 'certificate' };
    [keys, named] = [[brought], true];
  }
  if (keys.length === 0) return { reason: 'unknownKey', part: named ? 'kid' : 'noKid' };
  const fitting = keys.filter((k) => fits(k, jws.header.alg));
  if (named && fitting.length === 0) return { reason: 'badSignature', part: 'algorithm' };
  const key = fitting.find((k) => signatureHolds(jws, k));
  if (!key) return named ? { reason: 'badSignature', part: 'value' } : { reason: 'unknownKey', part: 'noKid' };
  let questions = questionsOf(key.certificates, platform);
  if (platform.ca) {
    const more = jws.header.x5c ? keyOfX5C(platform, jws.header.x5c)?.certificates ?? [] : [];
    const judged = key.certificates.length ? judgePath(key.certificates, [...more, ...others.slice(0, 10)], platform, hostText(platform.domain), Number(when / 1000000n)) : { part: 'certificate' };
    if (judged.part === 'anchor') return { key, reason: 'unknownKey', part: 'anchor' };
    if (judged.part) return { key, reason: 'badSignature', part: judged.part };
    questions = judged.questions;
  }
  if (!inWindow(key, when)) return { key, questions, reason: 'badSignature', part: 'window' };
  if (key.reason === 'keyCompromise') return { key, questions, reason: 'keyCompromised' };
  if (key.revoked !== undefined && when >= ns(key.revoked)) return { key, questions, reason: 'badSignature', part: 'revoked' };
  return { key, questions };
}

/**
 * revocation judges what was asked about the certificates of a key, for a signature of that time, by what was held when it was
 * checked: {at (ns), answers}. Without a reason it stands; revoked (ms) is since when it does so no more. proven says
 * whether the signature is known to be older than a theft.
 */
export function revocation(questions, when, evidence, proven) {
  let revoked;
  if (questions.length && (!evidence || evidence.at < when - minutes5)) return { reason: 'revocationUnknown' };
  for (const { certificate, issuer } of questions) {
    const s = issuer && newestOf(evidence.answers, certificate, issuer, Number(evidence.at / 1000000n));
    if (!s) return { reason: 'revocationUnknown' };
    if (s.good) continue;
    if (stolen(s.reason) ? !proven?.(s) : when >= ns(s.revoked)) return stolen(s.reason) ? { reason: 'keyCompromised' } : { reason: 'badSignature', part: 'revoked' };
    revoked = Math.min(revoked ?? Infinity, s.revoked);
  }
  return { revoked };
}

export const ns = (ms) => BigInt(ms) * 1000000n;

/** inWindow says whether the key may sign then. */
export function inWindow(key, when) {
  return !(key.notBefore !== -Infinity && when < ns(key.notBefore)) && !(key.notAfter !== Infinity && when > ns(key.notAfter));
}

function checkHashes({ document, entries }, trust) {
  const issuer = signerOf(entries[0], trust);
  const wanted = issuer.quirks.documentHash === 'as-sent' ? document.hashAsSent : document.hash;
  entries.forEach((e, i) => {
    const text = signerOf(e, trust).quirks.envelopeHash === 'base64url';
    if (e.claimed !== sha256(text ? e.jws.payloadText : e.jws.payload)) throw new Refused('badHash', { entry: i });
    if (e.beside !== undefined && !equal(e.beside, e.payload)) throw new Refused('badHash', { entry: i });
    if (e.previous !== (i === 0 ? undefined : entries[i - 1].claimed)) throw new Refused('badLink', { entry: i });
    if (e.documentHash !== wanted) throw new Refused('documentMismatch', { entry: i });
  });
}

function checkIssuer({ document, entries }, trust) {
  const p = signerOf(entries[0], trust);
  if (!p.issuer || (p.carriers && !p.carriers.includes(document.carrierCode))) throw new Refused('notAnIssuer', { entry: 0 });
}

const pending = { SURR: 'surrenderPending', AMND: 'amendmentPending', SW2P: 'paperPending' };

/** Life is a bill as the law sees it, from before its issuance on. */
export class Life {
  constructor(trust, now, toOrder) {
    Object.assign(this, { trust, now, toOrder, state: { status: 'none' }, highest: 0n });
  }

  /** entry applies all transactions of one entry; place is what a refusal says of where it is. */
  entry(signer, transactions, place, earliest = this.highest - minutes5) {
    transactions.forEach((t, j) => {
      this.apply(signer, t, earliest, (law) => {
        throw new Refused('unlawful', { law, ...place(j) });
      });
      earliest = t.time;
    });
  }

  apply(signer, t, earliest, refuse) {
    if (this.trust.of(t.host) !== signer) refuse('otherPlatform');
    if (t.time < earliest) refuse('timeReversed');
    if (t.time > this.now + minutes5) refuse('timeAhead');
    if (this.toOrder !== undefined && t.toOrder !== this.toOrder) refuse('toOrderChanged');
    this.state = step(this.state, t, this.trust, refuse);
    if (t.time > this.highest) this.highest = t.time;
  }
}

function applyLaw({ document, entries }, trust, now) {
  const life = new Life(trust, now, document.toOrder);
  entries.forEach((e, i) => life.entry(signerOf(e, trust), e.transactions, (j) => ({ entry: i, transaction: j })));
  const { state } = life;
  const head = entries.at(-1);
  return {
    possessor: party(state.possessor, trust),
    status: state.status,
    issuing: trust.name(state.issuing),
    toOrder: state.toOrder,
    head: sha256(head.jws.payload),
    length: entries.length,
    documentHash: head.documentHash,
  };
}

export const party = (id, trust) => `${id.local}@${trust.name(id.host)}`;

/** step is the law: what one transaction makes of the bill. */
function step(state, t, trust, refuse) {
  const same = (a, b) => party(a, trust) === party(b, trust);
  const on = (id, host) => trust.name(id.host) === trust.name(host);
  const first = state.status === 'none';
  if (first !== (t.instruction === 'ISSU')) refuse(first ? 'notIssued' : 'issuedTwice');
  if (first) return { status: 'active', issuing: t.host, possessor: t.transferee, toOrder: t.toOrder };
  if (t.toOrder !== state.toOrder) refuse('toOrderChanged');
  if (!on(state.possessor, t.host)) refuse('notInControl');
  if (same(t.transferee, state.possessor)) refuse('samePossessor');
  const isReturn = t.instruction in pending;
  if (state.status !== 'active') {
    if (isReturn) refuse('returnPending');
    if (!same(t.transferee, state.returnedBy)) refuse('notReturnedBy');
    return { ...state, status: 'active', possessor: t.transferee, returnedBy: undefined };
  }
  if (!isReturn) return { ...state, possessor: t.transferee };
  if (!on(t.transferee, state.issuing)) refuse('notToTheIssuer');
  return { ...state, status: pending[t.instruction], possessor: t.transferee, returnedBy: state.possessor };
}
