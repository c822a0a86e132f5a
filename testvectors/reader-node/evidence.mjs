// The verdict on an evidence bundle (docs/BUNDLE.md, sections 2 to 5): the rules in their order,
// and the first that breaks, or that cannot be judged, is the answer.
import { iatOf } from './answers.mjs';
import { makersPayload, readBundle } from './bundle.mjs';
import { Certificate } from './certificates.mjs';
import { canonical, equal, Malformed } from './json.mjs';
import { parseJWS, sha256 } from './jws.mjs';
import { hostText, sameHost } from './trust.mjs';
import { inWindow, Life, minutes5, ns, party, Refused, revocation, signedAt, signerOf, whoSigned } from './verify.mjs';

/** Finding is the first rule that breaks (INVALID) or cannot be judged (INDETERMINATE). */
class Finding extends Error {
  constructor(verdict, code, place = {}) {
    super(code);
    Object.assign(this, { verdict, code, place });
  }
}

const invalid = (code, place) => {
  throw new Finding('INVALID', code, place);
};
const cannotTell = (code, place) => {
  throw new Finding('INDETERMINATE', code, place);
};

/**
 * judgeBundle gives {verdict, code, place} or {verdict, state}; now is in ns since 1970. stop is asked before each signature: true
 * ends the work.
 */
export function judgeBundle(bytes, trust, now, stop = () => false) {
  try {
    const b = readBundle(bytes);
    const j = new Judge(b, trust, now, stop);
    for (const part of ['chain', 'steps', 'receipts', 'rejections', 'verdict', 'branches']) j[part]();
    return { verdict: j.keysAreGood() ? 'VALID' : 'VALID AT SIGNING TIME', state: j.state(), maker: j.maker() };
  } catch (e) {
    if (e instanceof Malformed) return { verdict: 'INVALID', code: `malformed/${e.rule}`, detail: e.message };
    if (e instanceof Refused) return { verdict: 'INVALID', code: `unlawful/${e.law}`, place: e.place };
    if (e instanceof Finding) return { verdict: e.verdict, code: e.code, place: e.place };
    throw e;
  }
}

// certificate: what is no certificate leads nowhere.
function certificate(raw) {
  try {
    return [new Certificate(raw)];
  } catch {
    return [];
  }
}

class Judge {
  constructor(b, trust, now, stop) {
    Object.assign(this, { b, trust, now, stop, keys: [], rejected: [], judgedReceipts: new Set() });
    this.blobs = new Map([...b.certificates, ...b.ocsp].map((raw) => [sha256(raw), raw]));
    this.life = new Life(trust, now, b.document?.toOrder);
  }

  // newestCheck is the newest check of the file about this very JWS (H).
  newestCheck(jws) {
    const hash = sha256(jws.text);
    return this.b.checks.filter((c) => c.jws === hash).reduce((x, y) => (x && x.at >= y.at ? x : y), undefined);
  }

  // blobsOf are those of the file with these hashes.
  blobsOf(hashes) {
    return (hashes ?? []).flatMap((h) => (this.blobs.has(h) ? [this.blobs.get(h)] : []));
  }

  /** whoSigned judges a signature with what the file holds of it: certificates for its path, and answers of responders. */
  whoSigned(jws, platform, time, proven) {
    const check = this.newestCheck(jws);
    const s = whoSigned(jws, platform, time, this.blobsOf(check?.certificates).flatMap(certificate));
    if (s.reason === 'keyCompromised' && proven?.(s.key)) s.reason = undefined;
    if (s.reason !== undefined) return s;
    return { ...s, ...revocation(s.questions, time, check && { at: check.at, answers: this.blobsOf(check.ocsp) }, proven) };
  }

  /** signature judges one that must be known: of an entry, a step or the verdict. */
  signature(jws, platform, time, bad, place, proven) {
    if (this.stop()) cannotTell('timeLimit', place);
    const s = this.whoSigned(jws, platform, time, proven);
    if (s.reason === 'unknownKey') cannotTell(`unknownKey/${s.part}`, place);
    if (s.reason === 'badSignature') invalid(`${bad}/${s.part}`, place);
    if (s.reason !== undefined) cannotTell(s.reason, place);
    this.keys.push(s.key);
    if (s.revoked !== undefined && ns(s.revoked) <= this.now) this.revokedSince = true;
  }

  chain() {
    const { b, trust } = this;
    const last = b.entries.length - 1;
    const order = b.entries.map((_, i) => i);
    order.unshift(...order.splice(last, 1));
    for (const i of order) {
      const e = b.entries[i];
      const p = signerOf(e, trust) ?? cannotTell('platformNotTrusted', { entry: i });
      this.signature(e.jws, p, signedAt(e), i === last ? 'badSignature' : 'badChainSignature', { entry: i }, (key) => this.provenBefore(i, key));
    }
    if (last < 0) return;
    const issuer = signerOf(b.entries[0], trust);
    this.document(issuer, { entry: 0 });
    b.entries.forEach((e, i) => this.links(e, i));
    this.issuer(issuer, { entry: 0 });
    b.entries.forEach((e, i) => this.law(signerOf(e, trust), e.transactions, (t) => ({ entry: i, transaction: t })));
  }

  document(issuer, place) {
    const { document, documentHash } = this.b;
    const hash = issuer.quirks.documentHash === 'as-sent' ? document?.hashAsSent : document?.hash;
    if (document && hash !== documentHash) invalid('documentMismatch/bundle', place);
  }

  links(e, i) {
    const { b } = this;
    if (e.claimed !== this.wireHash(e)) invalid('badHash/claimed', { entry: i });
    if (e.beside !== undefined && !equal(e.beside, e.payload)) invalid('badHash/beside', { entry: i });
    if (i === 0 && e.previous !== undefined) invalid('badLink/first', { entry: i });
    if (i > 0 && e.previous !== b.entries[i - 1].claimed) invalid('badLink/previous', { entry: i });
    if (e.documentHash !== b.documentHash) invalid('documentMismatch/entry', { entry: i });
  }

  issuer(p, place) {
    if (!p.issuer) invalid('notAnIssuer/issuer', place);
    if (!p.carriers) return;
    if (!this.b.document) cannotTell('documentNeeded', place);
    if (!p.carriers.includes(this.b.document.carrierCode)) invalid('notAnIssuer/carrier', place);
  }

  law(signer, transactions, place, earliest) {
    try {
      this.life.entry(signer, transactions, place, earliest);
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      invalid(`unlawful/${e.law}`, { entry: e.entry, step: e.step, transaction: e.transaction });
    }
  }

  /**
   * provenBefore: somebody else's word, dated before the theft, that entry i existed (section 4): of entry i,
   * or of a later one as far as the links hold.
   */
  provenBefore(i, key) {
    const { b, trust } = this;
    const own = signerOf(b.entries[i], trust);
    const other = (jws, p, time) => {
      if (!p || p === own || time === undefined || time >= ns(key.revoked) || time > this.now) return false;
      const s = this.whoSigned(jws, p, time);
      return s.key !== undefined && s.reason === undefined;
    };
    for (let j = i; j < b.entries.length; j++) {
      const e = b.entries[j];
      if (j > i && e.previous !== b.entries[j - 1].claimed) return false;
      if (!signerOf(e, trust) || e.claimed !== this.wireHash(e)) return false;
      if (j > i && other(e.jws, signerOf(e, trust), signedAt(e))) return true;
      const receipts = b.receipts.filter((jws) => this.entryOf(jws) === j && iatOf(jws, this.now) >= signedAt(e) - minutes5);
      if (receipts.some((jws) => other(jws, this.addressee(e), iatOf(jws, this.now)))) return true;
    }
    const v = b.verdict;
    const last = b.entries.at(-1);
    const newest = [...b.entries.map(signedAt), ...b.steps.map((x) => x.transaction.time)].reduce((x, y) => (x > y ? x : y));
    return v !== undefined && v.envelopeHash === sha256(last.jws.payload) && v.at >= newest - minutes5 && other(v.jws, signerOf(b.entries[0], trust), v.at);
  }

  steps() {
    const { b, trust } = this;
    const head = b.entries.length ? sha256(b.entries.at(-1).jws.payload) : undefined;
    let earliest; // all steps are one entry to be
    b.steps.forEach((s, i) => {
      const place = { step: i };
      const p = trust.of(s.transaction.host) ?? cannotTell('platformNotTrusted', place);
      this.signature(s.jws, p, s.transaction.time, 'badStep', place);
      const issuance = i === 0 && head === undefined;
      if (issuance) this.document(p, place);
      if (s.documentHash !== b.documentHash) invalid('badStep/document', place);
      if (s.head !== head) invalid('badStep/head', place);
      if (s.index !== i) invalid('badStep/index', place);
      if (s.previous !== (i === 0 ? undefined : sha256(b.steps[i - 1].jws.text))) invalid('badStep/previous', place);
      if (issuance) this.issuer(p, place);
      this.law(p, [s.transaction], () => place, earliest);
      earliest = s.transaction.time;
    });
  }

  // entryOf is the entry that a receipt is of: the last one that claims its hash, or -1.
  entryOf(receipt) {
    const claimed = receipt.payload.toString();
    return this.b.entries.findLastIndex((e) => e.claimed === claimed);
  }

  // addressee is the platform of an entry's last transferee, if the reader trusts one.
  addressee(e) {
    return this.trust.of(e.transactions.at(-1).transferee.host);
  }

  receipts() {
    const { b } = this;
    const seen = new Set();
    b.receipts.forEach((jws, i) => {
      const place = { receipt: i };
      const k = this.entryOf(jws);
      if (k < 0) invalid('badReceipt/entry', place);
      if (seen.has(k)) invalid('badReceipt/twice', place);
      seen.add(k);
      const e = b.entries[k];
      if (!this.answer(jws, this.addressee(e), signedAt(e), 'badReceipt', place)) return;
      const iat = iatOf(jws, this.now);
      if (iat !== undefined && iat < signedAt(e) - minutes5) invalid('badReceipt/time', place);
      this.judgedReceipts.add(k);
    });
  }

  /** answer judges the signature of an answer; false: of a platform or key that the reader does not have. */
  answer(jws, platform, earlier, bad, place) {
    if (!platform) return false;
    if (this.stop()) cannotTell('timeLimit');
    const iat = iatOf(jws, this.now);
    const times = iat === undefined ? [this.now, earlier] : [iat];
    const results = times.map((t) => this.whoSigned(jws, platform, t));
    if (results.some((s) => s.reason === undefined)) return true;
    const { reason, part } = results[0];
    if (reason === 'badSignature') invalid(`${bad}/${part}`, place);
    return false;
  }

  rejections() {
    const { b, trust } = this;
    const all = [...b.entries.map((e, i) => ({ e, i })), ...b.branches.flatMap((br) => br.entries.map((e) => ({ e })))];
    b.rejections.forEach((r, n) => {
      const place = { rejection: n };
      const about = all.filter(({ e }) => sha256(e.jws.payload) === r.envelopeHash);
      if (about.length === 0) invalid('badRejection/entry', place);
      const found = about.find(({ e }) => sha256(e.jws.text) === r.jwsSha256);
      if (!found) invalid('badRejection/bytes', place);
      const { e, i } = found;
      const to = e.transactions.at(-1).transferee.host;
      const [sender, receiver] = [signerOf(e, trust), trust.of(to)];
      if (!receiver) return;
      if (!sameHost(r.to, receiver.domain) || (sender && !sameHost(r.from, sender.domain))) invalid('badRejection/parties', place);
      if (!this.answer(r.jws, receiver, signedAt(e), 'badRejection', place)) return;
      // BSIG is of these bytes of the envelope alone.
      if (r.code !== 'DISE') this.rejected.push({ hash: r.envelopeHash, text: r.code === 'BSIG' ? r.jwsSha256 : undefined });
      if (i !== undefined) this.rejectedInChain(r.code, i, place);
    });
  }

  rejectedInChain(code, i, place) {
    const { b } = this;
    const receipt = this.judgedReceipts.has(i);
    // The law has made sure that what comes after is of the addressee.
    const taken = receipt || i < b.entries.length - 1 || b.steps.length > 0;
    if (code !== 'DISE') {
      if (taken) cannotTell('contradicted', place);
      invalid('rejectedEntry', place);
    }
    if (!taken) cannotTell('disputed', place);
  }

  verdict() {
    const { b, trust, life } = this;
    if (!b.verdict) return;
    const v = b.verdict;
    const issuing = trust.of(life.state.issuing);
    this.signature(v.jws, issuing, v.at, 'badVerdict', {});
    if (v.at > this.now + minutes5 || v.at < life.highest - minutes5) invalid('badVerdict/time', {});
    const kind = { surrenderPending: 'surrendered', amendmentPending: 'amended', paperPending: 'paper' }[life.state.status];
    if (!kind) invalid('unlawful/nothingToHonour', {});
    const head = b.entries.length ? sha256(b.entries.at(-1).jws.payload) : undefined;
    const fits = v.kind === kind && v.documentHash === b.documentHash && v.envelopeHash === head && (v.kind === 'amended') === (v.replacedBy !== undefined);
    if (!fits) invalid('unlawful/verdictUnfitting', {});
    life.state = { ...life.state, status: 'void', possessor: undefined };
  }

  branches() {
    const { b } = this;
    const judged = [];
    b.branches.forEach((br, n) => {
      const place = { branch: n };
      const first = br.entries[0];
      const before = b.entries[br.at - 1];
      if (br.at > b.entries.length || first.previous !== before?.claimed) invalid('badBranch/link', place);
      if (br.entries.some((e, i) => i > 0 && e.previous !== this.wireHash(br.entries[i - 1]))) invalid('badBranch/link', place);
      const own = b.entries[br.at];
      if (own && own.jws.payload.equals(first.jws.payload)) invalid('badBranch/same', place);
      if (br.entries.some((e) => e.documentHash !== b.documentHash)) invalid('badBranch/document', place);
      judged.push(br.entries.map((e) => this.branchEntry(e, place)));
    });
    b.branches.forEach((br, n) => this.compare(br, judged[n], { branch: n }));
  }

  // wireHash is the envelopeHash that this entry must have.
  wireHash(e) {
    return sha256(signerOf(e, this.trust)?.quirks.envelopeHash === 'base64url' ? e.jws.payloadText : e.jws.payload);
  }

  branchEntry(e, place) {
    if (this.stop()) cannotTell('timeLimit');
    const p = signerOf(e, this.trust);
    if (!p) return undefined;
    const s = this.whoSigned(e.jws, p, signedAt(e));
    if (s.reason === 'badSignature') invalid(`badBranch/${s.part}`, place);
    return s.reason === undefined ? p : undefined;
  }

  // compare says what a branch proves against somebody; judged are the signers of its entries.
  compare(br, judged, place) {
    const own = this.b.entries[br.at];
    const first = br.entries[0];
    if (!judged[0] || (own && judged[0] !== signerOf(own, this.trust))) return;
    const isRejected = (e) => this.rejected.some((r) => r.hash === sha256(e.jws.payload) && (r.text ?? sha256(e.jws.text)) === sha256(e.jws.text));
    if (isRejected(first)) {
      if (judged[1] && judged[1] === this.addressee(first)) cannotTell('forked/rejectedAndContinued', place);
      return;
    }
    if (!own) cannotTell('forked/continued', place);
    if (!isRejected(own)) cannotTell('forked/signedTwice', place);
  }

  /** keysAreGood: every key that signed is inside its window and in good standing at the time of judging. */
  keysAreGood() {
    return !this.revokedSince && this.keys.every((k) => inWindow(k, this.now) && k.reason !== 'keyCompromise' && (k.revoked === undefined || this.now < ns(k.revoked)));
  }

  state() {
    const { b, life, trust } = this;
    const head = b.entries.at(-1);
    return {
      possessor: life.state.possessor && party(life.state.possessor, trust),
      status: life.state.status,
      issuing: trust.name(life.state.issuing),
      toOrder: life.state.toOrder,
      head: head && sha256(head.jws.payload),
      length: b.entries.length,
      documentHash: b.documentHash,
    };
  }

  /** maker: whose signature stands under the file; no verdict depends on it. */
  maker() {
    const { b, trust } = this;
    if (b.signature === undefined) return 'none';
    const p = trust.of(b.made.by);
    if (!p) return 'unknown';
    try {
      const jws = parseJWS(b.signature);
      if (jws.header.typ !== 'eblnode-bundle+jws' || jws.payload.toString() !== makersPayload(b, canonical) || hostText(p.domain) !== hostText(b.made.by)) return 'bad';
      const { reason } = whoSigned(jws, p, iatOf(jws, this.now) ?? this.now);
      return reason === 'unknownKey' ? 'unknown' : reason === undefined ? 'good' : 'bad';
    } catch (e) {
      if (e instanceof Malformed) return 'bad';
      throw e;
    }
  }
}
