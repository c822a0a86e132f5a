// The checks of a block after its shape: who sent and signed it, hashes and links, and the law
// of the bill. The first check that fails is the answer (P6).
import { equal } from './json.mjs';
import { fits, sha256, signatureHolds } from './jws.mjs';
import { candidates, hostText } from './trust.mjs';

/** Refused is a block that has the right shape and is not accepted. */
export class Refused extends Error {
  constructor(reason, place = {}) {
    super(reason);
    Object.assign(this, { reason, ...place });
  }
}

const minutes5 = 5n * 60n * 1000000000n;

/** verifyBlock gives the state of the bill, or throws Refused. now is in ns since 1970. */
export function verifyBlock(block, trust, { now, sender }) {
  const { entries } = block;
  const last = entries.length - 1;
  checkSender(entries[last], last, trust, sender);
  checkEntrySignature(entries[last], last, trust, 'badSignature');
  for (let i = 0; i < last; i++) checkEntrySignature(entries[i], i, trust, 'badChainSignature');
  checkHashes(block, trust);
  checkIssuer(block, trust);
  return applyLaw(block, trust, now);
}

// signerOf: the platform of an entry is that of its first transaction's platformHost; that the
// others belong to it is part of the law (P3).
const signerOf = (entry, trust) => trust.of(entry.transactions[0].host);

function checkSender(entry, i, trust, sender) {
  const p = signerOf(entry, trust);
  if (sender !== undefined && (!p || hostText(p.domain) !== sender)) throw new Refused('signerMismatch', { entry: i });
}

function checkEntrySignature(entry, i, trust, bad) {
  const p = signerOf(entry, trust);
  if (!p) throw new Refused('platformNotTrusted', { entry: i });
  const reason = checkSignature(entry.jws, p, entry.transactions.at(-1).time);
  if (reason) throw new Refused(reason === 'badSignature' ? bad : reason, { entry: i });
}

/**
 * checkSignature gives the reason why a JWS does not count as signed by the platform at that time
 * (ns since 1970), or nothing. Signature, window, theft, other revocation: in this order.
 */
export function checkSignature(jws, platform, when) {
  const keys = candidates(platform, jws.header);
  if (keys.length === 0) return 'unknownKey';
  const key = keys.find((k) => fits(k, jws.header.alg) && signatureHolds(jws, k));
  if (!key) return jws.header.kid === undefined ? 'unknownKey' : 'badSignature';
  const ns = (ms) => BigInt(ms) * 1000000n;
  if (key.notBefore !== -Infinity && when < ns(key.notBefore)) return 'badSignature';
  if (key.notAfter !== Infinity && when > ns(key.notAfter)) return 'badSignature';
  if (key.reason === 'keyCompromise') return 'keyCompromised';
  if (key.revoked !== undefined && when >= ns(key.revoked)) return 'badSignature';
  return undefined;
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

function applyLaw({ document, entries }, trust, now) {
  let state = { status: 'none' };
  let highest = 0n;
  entries.forEach((e, i) => {
    const signer = signerOf(e, trust);
    let earliest = highest - minutes5;
    e.transactions.forEach((t, j) => {
      const refuse = (law) => {
        throw new Refused('unlawful', { law, entry: i, transaction: j });
      };
      if (trust.of(t.host) !== signer) refuse('otherPlatform');
      if (t.time < earliest) refuse('timeReversed');
      if (t.time > now + minutes5) refuse('timeAhead');
      if (document.toOrder !== undefined && t.toOrder !== document.toOrder) refuse('toOrderChanged');
      earliest = t.time;
      if (t.time > highest) highest = t.time;
      state = step(state, t, trust, refuse);
    });
  });
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

const party = (id, trust) => `${id.local}@${trust.name(id.host)}`;

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
