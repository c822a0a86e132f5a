// What can be wrong with the bundles of eblnode demo, rule by rule of docs/BUNDLE.md: each case takes one of
// them (Spoilt) and breaks one thing. Where more than a byte is needed the platforms of the demonstration sign
// themselves: their keys are at hand.
import { otherSignature, payloadOf } from './spoil.mjs';

/** cases: code is the first broken rule, spoil gives the file; with returned only of a bill that the carrier honoured. */
export const cases = [];
const c = (code, spoil, more = {}) => cases.push({ code, spoil, ...more });

const [carrier, bank, consignee] = ['carrier.example', 'bank.example', 'consignee.example'];
const shipper = `shipper@${carrier}`;
const desk = `lc-desk@${bank}`;
const buyer = `buyer@${consignee}`;
const issuer = `carrier@${carrier}`;
const h = (digit) => digit.repeat(64);
const long = Date.parse('2020-01-01T00:00:00Z'); // before any of the keys

// atBank: issued, and with the bank. toBuyer: the bank gave it on.
const atBank = (s) => s.cut(1);
const toBuyer = (s, options, edit) => atBank(s).seal(bank, [s.tx('TRNS', bank, buyer, 1, edit)], options);
const returned = (s, options) => {
  atBank(s);
  return s.seal(bank, [s.tx('SURR', bank, issuer, 1)], options);
};
// issuedAnew is another first entry for the same document.
const issuedAnew = (s, domain, transactions, options) => {
  const time = s.time(0);
  s.cut(1).file.chain = [];
  s.file.receipts = [];
  const at = transactions.map((t) => ({ isToOrder: true, platformHost: `https://${domain}`, timestamp: time, ...t }));
  return s.seal(domain, at, options);
};
const atHome = (s, header) => {
  issuedAnew(s, carrier, [{ instruction: 'ISSU', transferee: shipper }]);
  const [issue] = payloadOf(s.file.chain.pop().signature).transactions;
  return s.step(carrier, issue, header);
};
const later = (t, seconds) => ({ ...t, timestamp: t.timestamp + seconds * 1000 });
const move = (domain, transferee, timestamp) => ({ instruction: 'TRNS', isToOrder: true, platformHost: `https://${domain}`, timestamp, transferee });

function shape() {
  c('malformed/json', (s) => s.text(/}$/, ',}'));
  c('malformed/json', (s) => s.text().slice(0, -1));
  c('malformed/duplicateName', (s) => s.text('"made":', '"made":null,"made":'));
  c('malformed/utf8', (s) => s.text(/"carrierCode":"/, '"carrierCode":"\\udc00'));
  c('malformed/limit', (s) => s.text(/"carrierCode":/, `"x":${'['.repeat(63)}${']'.repeat(63)},"carrierCode":`));
  c('malformed/format', (s) => s.set((f) => { f.format = 'eblnode-bundle/2'; }));
  c('malformed/unknownMember', (s) => s.set((f) => { f.chain[0].payload = payloadOf(f.chain[0].signature); }));
  c('malformed/missing', (s) => s.set((f) => delete f.chain[0].envelopeHash));
  c('malformed/type', (s) => s.set((f) => { f.chain[0].signature = f.chain[0].signature.split('.'); }));
  c('malformed/both', (s) => atBank(s).again((t) => { t.action = t.instruction; }));
  c('malformed/number', (s) => s.text(/"carrierCode":/, '"x":9007199254740993,"carrierCode":'));
  c('malformed/hash', (s) => s.set((f) => { f.chain[0].envelopeHash = `A${f.chain[0].envelopeHash.slice(1)}`; }));
  c('malformed/jws', (s) => s.set((f) => { f.chain[0].signature += '='; }));
  c('malformed/jws', (s) => s.set((f) => { f.receipts[0] = f.receipts[0].replace(/\..*\./, '..'); }));
  c('malformed/header', (s) => atBank(s).again(() => {}, { header: { jku: 'https://carrier.example/keys' } }));
  c('malformed/alg', (s) => atBank(s).again(() => {}, { header: { alg: 'none' } }));
  c('malformed/typ', (s) => atBank(s).receipt(0, { header: { typ: 'eblnode-verdict+jws' } }));
  c('malformed/instruction', (s) => atBank(s).again((t) => { t.instruction = 'trns'; }));
  c('malformed/comments', (s) => atBank(s).again((t) => { t.comments = 'x'.repeat(256); }));
  c('malformed/timestamp', (s) => atBank(s).again((t) => { t.timestamp += 0.5; }));
  c('malformed/host', (s) => atBank(s).again((t) => { t.platformHost = 'https://192.0.2.1'; }));
  c('malformed/transferee', (s) => atBank(s).again((t) => { t.transferee = 'lc-desk'; }));
  c('malformed/time', (s) => s.set((f) => { f.made.at = f.made.at.replace('T', ' '); }));
  c('malformed/value', (s) => s.set((f) => { f.made.selection = 'everything'; }));
  c('malformed/base64', (s) => s.set((f) => { f.certificates = ['AAA']; }));
}

function signatures() {
  const gone = (s) => s.again((t, p) => p.transactions.forEach((x) => { x.platformHost = 'https://gone.example'; }));
  c('platformNotTrusted', (s) => gone(atBank(s)));
  c('platformNotTrusted', (s) => gone(toBuyer(s)));
  c('unknownKey/kid', (s) => atBank(s).again(() => {}, { header: { kid: 'next-year' } }));
  c('unknownKey/kid', (s) => toBuyer(s, { by: s.stranger }));
  c('unknownKey/noKid', (s) => atBank(s).again(() => {}, { by: s.stranger, header: { kid: undefined } }));
  c('badSignature/algorithm', (s) => toBuyer(s, { header: { alg: 'RS256' } }));
  c('badSignature/value', (s) => s.set((f) => { f.chain.at(-1).signature = otherSignature(f.chain.at(-1).signature, s.keys.get(s.signer(-1))); }));
  c('badSignature/value', (s) => toBuyer(s, { by: s.keys.get(consignee), header: { kid: s.keys.get(bank).kid } }));
  c('badSignature/window', (s) => toBuyer(s, {}, { timestamp: long }));
  const middle = (s, options, edit) => {
    atBank(s).again(edit ?? (() => {}), options);
    return s.seal(bank, [{ ...s.tx('TRNS', bank, buyer), timestamp: Date.now() }]);
  };
  c('badChainSignature/algorithm', (s) => middle(s, { header: { alg: 'PS256' } }));
  c('badChainSignature/value', (s) => s.set((f) => { f.chain[0].signature = otherSignature(f.chain[0].signature, s.keys.get(carrier)); }));
  c('badChainSignature/value', (s) => middle(s, { by: s.stranger, header: { kid: s.keys.get(carrier).kid } }));
  c('badChainSignature/window', (s) => middle(s, {}, (t) => { t.timestamp = long; }));
}

function links() {
  c('documentMismatch/bundle', (s) => s.set((f) => { f.document.transportDocumentReference += '0'; }));
  c('documentMismatch/bundle', (s) => s.set((f) => { f.documentHash = h('a'); }));
  c('badHash/claimed', (s) => s.set((f) => { f.chain[0].envelopeHash = h('b'); }));
  c('badHash/beside', (s) => s.set((f) => { f.chain[0].eblEnvelope = { ...payloadOf(f.chain[0].signature), previousEnvelopeHash: h('0') }; }));
  c('badLink/first', (s) => s.set((f) => f.chain.shift()));
  c('badLink/first', (s) => atBank(s).again((t, p) => { p.previousEnvelopeHash = h('c'); }));
  c('badLink/previous', (s) => toBuyer(s, { payload: { previousEnvelopeHash: h('d') } }));
  c('badLink/previous', (s) => s.set((f) => f.chain.splice(1, 1)), { returned: true });
  c('documentMismatch/entry', (s) => toBuyer(s, { payload: { documentHash: h('e') } }));
  c('notAnIssuer/issuer', (s) => issuedAnew(s, bank, [{ instruction: 'ISSU', transferee: desk }]));
  c('notAnIssuer/carrier', (s) => {
    const { keys, stranger } = s;
    const other = new s.constructor(JSON.stringify({ ...s.file, documentHash: undefined, document: { ...s.file.document, carrierCode: 'OTHR' } }), keys, stranger);
    return issuedAnew(other, carrier, [{ instruction: 'ISSU', transferee: shipper }]);
  });
  c('documentNeeded', (s) => s.set((f) => delete f.document));
}

function law() {
  c('unlawful/otherPlatform', (s) => {
    atBank(s);
    return s.seal(bank, [s.tx('TRNS', bank, `second-desk@${bank}`), s.tx('TRNS', consignee, buyer, 2)]);
  });
  c('unlawful/timeReversed', (s) => atBank(s).again((t, p) => { p.transactions[0].timestamp = t.timestamp + 1; }));
  c('unlawful/timeAhead', (s) => toBuyer(s, {}, { timestamp: Date.now() + 20 * 24 * 3600_000 }));
  c('unlawful/toOrderChanged', (s) => toBuyer(s, {}, { isToOrder: false }));
  c('unlawful/notIssued', (s) => issuedAnew(s, carrier, [{ instruction: 'TRNS', transferee: desk }]));
  c('unlawful/issuedTwice', (s) => issuedAnew(s, carrier, [{ instruction: 'ISSU', transferee: shipper }, { instruction: 'ISSU', transferee: desk }]));
  c('unlawful/notInControl', (s) => {
    atBank(s);
    return s.seal(consignee, [s.tx('TRNS', consignee, buyer)]);
  });
  c('unlawful/notInControl', (s) => {
    const t = toBuyer(s).tx('TRNS', bank, `second-desk@${bank}`);
    return s.step(bank, t);
  });
  c('unlawful/samePossessor', (s) => {
    atBank(s);
    return s.seal(bank, [s.tx('TRNS', bank, desk)]);
  });
  c('unlawful/notToTheIssuer', (s) => {
    atBank(s);
    return s.seal(bank, [s.tx('SURR', bank, buyer)]);
  });
  c('unlawful/returnPending', (s) => {
    returned(s);
    return s.seal(carrier, [s.tx('AMND', carrier, shipper)]);
  });
  c('unlawful/notReturnedBy', (s) => {
    returned(s);
    return s.seal(carrier, [s.tx('TRNS', carrier, shipper)]);
  });
}

function steps() {
  const step = (s, options, edit) => {
    atBank(s);
    return s.step(bank, s.tx('TRNS', bank, `second-desk@${bank}`, 1, edit), options);
  };
  c('badStep/algorithm', (s) => step(s, { header: { alg: 'RS256' } }));
  c('badStep/value', (s) => step(s, { by: s.stranger, header: { kid: s.keys.get(bank).kid } }));
  c('badStep/window', (s) => step(s, {}, { timestamp: long }));
  c('badStep/document', (s) => step(s, { payload: { documentHash: h('1') } }));
  c('badStep/head', (s) => step(s, { payload: { head: h('2') } }));
  c('badStep/index', (s) => step(s, { payload: { index: 1 } }));
  c('badStep/previous', (s) => step(s, { payload: { previous: h('3') } }));
  c('badStep/value', (s) => atHome(s, { by: s.stranger, header: { kid: s.keys.get(carrier).kid } }));
}

function answers() {
  const none = (s) => atBank(s).set((f) => { f.receipts = []; });
  const receipt = (s, options) => none(s).receipt(0, options);
  const rejection = (s, code, options) => none(s).rejection(0, code, options);
  c('badReceipt/entry', (s) => receipt(s, { payload: h('4') }));
  c('badReceipt/twice', (s) => receipt(s).receipt(0));
  c('badReceipt/algorithm', (s) => receipt(s, { header: { alg: 'RS256' } }));
  c('badReceipt/value', (s) => s.set((f) => { f.receipts[0] = otherSignature(f.receipts[0], s.keys.get(bank)); }));
  c('badReceipt/window', (s) => receipt(s, { iat: long / 1000 }));
  c('badReceipt/time', (s) => receipt(s, { iat: Math.floor(s.time(0) / 1000) - 301 }));
  c('badRejection/entry', (s) => rejection(s, 'BENV', { payload: { envelopeHash: h('5') } }));
  c('badRejection/bytes', (s) => rejection(s, 'BENV', { payload: { jwsSha256: h('6') } }));
  c('badRejection/parties', (s) => rejection(s, 'BENV', { payload: { sender: consignee } }));
  c('badRejection/algorithm', (s) => rejection(s, 'BENV', { header: { alg: 'RS256' } }));
  c('badRejection/value', (s) => rejection(s, 'BENV', { by: s.stranger, header: { kid: s.keys.get(bank).kid } }));
  c('badRejection/window', (s) => rejection(s, 'BENV', { iat: long / 1000 }));
  c('rejectedEntry', (s) => rejection(s, 'BENV'));
  c('contradicted', (s) => rejection(s, 'BSIG').receipt(0));
  c('disputed', (s) => rejection(s, 'DISE'));
}

function verdicts() {
  const said = (s, options, kind = 'surrendered') => returned(s).verdict(kind, options);
  c('badVerdict/algorithm', (s) => said(s, { header: { alg: 'RS256' } }));
  c('badVerdict/value', (s) => s.set((f) => { f.verdict = otherSignature(f.verdict, s.keys.get(carrier)); }), { returned: true });
  c('badVerdict/value', (s) => said(s, { by: s.keys.get(bank), header: { kid: s.keys.get(carrier).kid } }));
  c('badVerdict/window', (s) => said(s, { payload: { at: new Date(long).toISOString() } }));
  c('badVerdict/time', (s) => said(s, { payload: { at: new Date(s.time(-1) - 301_000).toISOString() } }));
  c('unlawful/nothingToHonour', (s) => atBank(s).verdict('surrendered'));
  c('unlawful/verdictUnfitting', (s) => said(s, {}, 'paper'));
  c('unlawful/verdictUnfitting', (s) => said(s, { payload: { replacedBy: h('7') } }));
}

function branches() {
  const other = (s, options, transferee = shipper) => {
    const t = toBuyer(s).tx('TRNS', bank, transferee);
    return s.branch(1, [[bank, [t], options]]);
  };
  c('badBranch/link', (s) => other(s, { payload: { previousEnvelopeHash: h('8') } }));
  c('badBranch/same', (s) => toBuyer(s).branch(1, [[bank, payloadOf(s.file.chain[1].signature).transactions]]));
  c('badBranch/document', (s) => other(s, { payload: { documentHash: h('9') } }));
  c('badBranch/algorithm', (s) => other(s, { header: { alg: 'RS256' } }));
  c('badBranch/value', (s) => other(s, { by: s.stranger, header: { kid: s.keys.get(bank).kid } }));
  c('badBranch/window', (s) => toBuyer(s).branch(1, [[bank, [move(bank, shipper, long)]]]));
  c('forked/signedTwice', (s) => other(s));
  c('forked/continued', (s) => {
    const t = atBank(s).tx('TRNS', bank, buyer);
    return s.branch(1, [[bank, [t]]]);
  });
  c('forked/rejectedAndContinued', (s) => {
    const t = atBank(s).tx('TRNS', bank, buyer);
    s.branch(1, [[bank, [t]], [consignee, [later({ ...t, platformHost: `https://${consignee}`, transferee: shipper }, 1)]]]);
    const [first] = s.file.branches[0].entries;
    return s.rejectionOf(first, bank, consignee, 'BENV').seal(bank, [s.tx('TRNS', bank, shipper, 2)]);
  });
}

for (const family of [shape, signatures, links, law, steps, answers, verdicts, branches]) family();
