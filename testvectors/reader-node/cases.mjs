// The bundles of this tool: cases of docs/BUNDLE.md, rule by rule, with the verdict that they must get.
import { answered, atHome, Evidence, iso, long, returned, tx, wrong, x5c } from './build.mjs';
import { sha256 } from './jws.mjs';

/** Case: code is the first broken rule, or one of the two good verdicts; make gives the bundle. */
export const cases = [];
const c = (code, comment, make, more = {}) => cases.push({ code, comment, make, ...more });

/** edited is the file with one piece of its text changed. */
function edited(e, from, to) {
  const text = e.text({ sign: false });
  const out = text.replace(from, to);
  if (out === text) throw new Error(`nothing to change: ${from}`);
  return out;
}

const issue = (edit) => tx('ISSU', 'carrier', 'shipper', 0, edit);
const one = (edit, options) => new Evidence().seal('carrier', [issue(edit)], options);
const toBen = () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 1)]);
const h = (digit) => digit.repeat(64);

// looked adds what the maker looked at for entry 0: certificates of the path.
const looked = (e, certificates) => e.set((f) => {
  f.certificates.push(...certificates);
  f.checks.push({ jws: sha256(f.chain[0].signature), at: iso(3), platform: 'carrier.example', key: h('0'), certificates: certificates.map((text) => sha256(Buffer.from(text, 'base64'))) });
});

function good() {
  c('VALID', 'three platforms, three receipts, a step since', () => long());
  c('VALID', 'without the maker’s signature: no verdict depends on it', () => long().text({ sign: false }));
  c('VALID', 'the maker’s signature is of another file: shown, and no verdict depends on it', () => long().set((f) => { f.signature = returned().set(() => {}).text().match(/"signature":"([^"]*)"}$/)[1]; }).text({ sign: false }));
  c('VALID', 'the carrier honoured a surrender', () => returned());
  c('VALID', 'never left the platform: two steps and no entry', () => atHome());
  c('VALID', 'a return that waits for the carrier', () => returned('AMND', null));
  c('VALID', 'a second continuation after a rejection of the first is lawful', () => {
    const e = toBen().branch(1, [['bank', [tx('TRNS', 'bank', 'tess', 10)]]]);
    return e.rejection(e.file.branches[0].entries[0], 'bank', 'trade', 11, 'BENV').seal('bank', [tx('TRNS', 'bank', 'agent', 12)]);
  });
  c('VALID', 'a receipt of a platform that the reader does not trust is not judged', () => toBen().receipt(0, 'bank', 2), { trust: 'carrier-only' });
  c('VALID', 'only the hash of the document is kept', () => long().set((f) => delete f.document));
  c('VALID AT SIGNING TIME', 'ten years later: the certificates have ended', () => long(), { at: '2036-06-01T12:00:00Z' });
  c('VALID AT SIGNING TIME', 'the key of the carrier was replaced since, and revoked for that', () => toBen(), { trust: 'revoked' });
  c('VALID AT SIGNING TIME', 'the carrier’s key was stolen later; the bank’s receipt shows that the entry is older', () => toBen().receipt(0, 'bank', 30), { trust: 'compromised' });
  c('VALID AT SIGNING TIME', 'stolen later; the entry that the bank signed after it is older than the theft', () => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 40)]), { trust: 'compromised' });
  c('VALID AT SIGNING TIME', 'the window of the key has ended', () => toBen(), { trust: 'window' });
}

function shape() {
  c('malformed/json', 'a comma too many', () => edited(long(), /}$/, ',}'));
  c('malformed/json', 'something after the object', () => `${long().text()} {}`);
  c('malformed/duplicateName', 'a member twice: two readers see two bills', () => edited(long(), '"made":', `"documentHash":"${h('0')}","made":`));
  c('malformed/duplicateName', 'deep in the document, where nobody looks', () => edited(long(), '"carrierCode":"CARR"', '"x":[{"y":1,"y":2}],"carrierCode":"CARR"'));
  c('malformed/utf8', 'half a surrogate pair', () => edited(long(), '"CARR"', '"CA\\ud800RR"'));
  c('malformed/utf8', 'a byte that is no UTF-8', () => Buffer.from(edited(long(), '"CARR"', '"CARR\u00ff"'), 'latin1'));
  c('malformed/limit', '65 levels', () => edited(long(), '"CARR"', `"CARR","x":${'['.repeat(63)}${']'.repeat(63)}`));
  c('malformed/limit', '1,001 steps', () => edited(long(), /"steps":\[.*?\]/, `"steps":[${Array(1001).fill('"a.b.c"').join()}]`));
  c('malformed/format', 'of a later version', () => long().set((f) => { f.format = 'eblnode-bundle/2'; }));
  c('malformed/format', 'one spelling', () => long().set((f) => { f.format = 'EBLNODE-BUNDLE/1'; }));
  c('malformed/unknownMember', 'a member that this format does not have', () => long().set((f) => { f.comment = 'believe me'; }));
  c('malformed/unknownMember', 'in an entry', () => long().set((f) => { f.chain[0].key = 'x'; }));
  c('malformed/unknownMember', 'names are compared exactly', () => long().set((f) => { f.Verdict = null; }));
  c('malformed/missing', 'who made it', () => long().set((f) => delete f.made).text({ sign: false }));
  c('malformed/missing', 'neither an entry nor a step', () => new Evidence());
  c('malformed/type', 'a chain is an array', () => long().set((f) => { f.chain = {}; }));
  c('malformed/type', 'a receipt is a string', () => long().set((f) => f.receipts.push(1)));
  c('malformed/both', 'instruction, and its alias', () => one({ action: 'ISSU' }));
  c('malformed/both', 'in a step', () => atHome().step('carrier', tx('TRNS', 'carrier', 'shipper', 6, { action: 'TRNS' })));
  c('malformed/number', 'would become another number in the form that is hashed', () => edited(long(), '"CARR"', '"CARR","weight":9007199254740993'));
  c('malformed/number', 'beyond every double', () => edited(long(), '"CARR"', '"CARR","weight":1e400'));
  c('malformed/hash', 'one spelling', () => long().set((f) => { f.documentHash = f.documentHash.toUpperCase(); }));
  c('malformed/hash', 'in a step', () => atHome().step('carrier', tx('TRNS', 'carrier', 'shipper', 6), { payload: { previous: 'abc' } }));
  c('malformed/jws', 'padding is another spelling', () => long().set((f) => { f.receipts[0] += '='; }));
  c('malformed/jws', 'a detached payload', () => long().set((f) => { f.chain[1].signature = f.chain[1].signature.replace(/\..*\./, '..'); }));
  c('malformed/header', 'an extension that must be understood', () => long().receipt(1, 'trade', 12, { header: { crit: ['x'] } }));
  c('malformed/header', 'the message brings its own key', () => one({}, { header: { jwk: { kty: 'EC' } } }));
  c('malformed/alg', 'HMAC', () => one({}, { header: { alg: 'HS256' } }));
  c('malformed/alg', 'an unsecured receipt', () => toBen().receipt(0, 'bank', 2, { header: { alg: 'none' } }));
  c('malformed/typ', 'a step says that it is one', () => atHome().step('carrier', tx('TRNS', 'carrier', 'shipper', 6), { header: { typ: undefined } }));
  c('malformed/typ', 'a rejection in the place of a receipt', () => toBen().receipt(0, 'bank', 2, { header: { typ: 'eblnode-rejection+jws' } }));
  c('malformed/instruction', 'not one of the five', () => one({ instruction: 'ENDO' }));
  c('malformed/comments', '256 characters', () => one({ comments: 'x'.repeat(256) }));
  c('malformed/timestamp', 'a fraction', () => one({ timestamp: 1780300800000.5 }));
  c('malformed/host', 'https only', () => one({ platformHost: 'http://carrier.example' }));
  c('malformed/host', 'the maker is a domain', () => long().set((f) => { f.made.by = '192.0.2.1'; }).text({ sign: false }));
  c('malformed/transferee', 'no domain', () => one({ transferee: 'shipper' }));
  c('malformed/time', 'not a time of RFC 3339', () => long().set((f) => { f.made.at = '1 June 2026'; }).text({ sign: false }));
  c('malformed/time', 'no 30 February', () => returned('SURR', null).verdict('surrendered', 20, { payload: { at: '2026-02-30T10:00:00Z' } }));
  c('malformed/value', 'no such verdict', () => returned('SURR', null).verdict('void', 20));
  c('malformed/value', 'no such selection', () => long().set((f) => { f.made.selection = 'all'; }));
  c('malformed/base64', 'base64url is another alphabet', () => long().set((f) => f.certificates.push('_-8=')));
  c('malformed/base64', 'an empty answer', () => long().set((f) => f.ocsp.push('')));
}

function signatures() {
  c('platformNotTrusted', 'no trust entry for the platform in the middle', () => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 10)]).seal('trade', [tx('TRNS', 'trade', 'ben', 20)]), { trust: 'bank-only', place: { entry: 2 } });
  c('platformNotTrusted', 'the issuing platform is unknown', () => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 10)]), { trust: 'bank-only', place: { entry: 0 } });
  c('unknownKey/kid', 'a key that the reader was not given', () => one({}, { by: 'stranger-1', header: { kid: 'carrier-7' } }), { place: { entry: 0 } });
  c('unknownKey/kid', 'of an older entry', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 1)], { by: 'stranger-1' }).seal('bank', [tx('TRNS', 'bank', 'tess', 9)]), { place: { entry: 0 } });
  c('unknownKey/noKid', 'no kid, and none of the keys made it', () => one({}, { by: 'stranger-1', header: { kid: undefined } }), { place: { entry: 0 } });
  c('badSignature/algorithm', 'the key that kid names is of another type', () => one({}, { by: 'rsa-1', header: { kid: 'carrier-1' } }), { place: { entry: 0 } });
  c('badSignature/value', 'a stranger under the kid of the carrier', () => one({}, { by: 'stranger-1', header: { kid: 'carrier-1' } }), { place: { entry: 0 } });
  c('badSignature/value', 'the signature of something else', () => long({ steps: false }).set((f) => { f.chain[2].signature = wrong(f.chain[2].signature, 'trade-1'); }), { place: { entry: 2 } });
  c('badSignature/window', 'signed after the key might', () => one({ timestamp: 1780304400001 }), { trust: 'window', place: { entry: 0 } });
  c('badSignature/revoked', 'signed at the very moment of the revocation', () => one({ timestamp: 1780304400000 }), { trust: 'revoked', place: { entry: 0 } });
  c('badChainSignature/algorithm', 'of the issuance', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 1)], { by: 'rsa-1', header: { kid: 'carrier-1' } }).seal('bank', [tx('TRNS', 'bank', 'tess', 9)]), { place: { entry: 0 } });
  c('badChainSignature/value', 'in the middle', () => long({ steps: false }).set((f) => { f.chain[1].signature = wrong(f.chain[1].signature, 'bank-1'); }), { place: { entry: 1 } });
  c('badChainSignature/window', 'the issuance, an hour late', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 61)]).seal('bank', [tx('TRNS', 'bank', 'shipper', 70)]), { trust: 'window', place: { entry: 0 } });
  c('badChainSignature/revoked', 'the issuance, after the key was replaced', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 61)]).seal('bank', [tx('TRNS', 'bank', 'shipper', 70)]), { trust: 'revoked', place: { entry: 0 } });
  c('timeLimit', 'a reader that has no time at all', () => toBen(), { seconds: 0, place: { entry: 0 } });
  c('keyCompromised', 'stolen, and nothing shows that the entry is older', () => toBen(), { trust: 'compromised', place: { entry: 0 } });
  c('keyCompromised', 'the receipt is younger than the theft', () => toBen().receipt(0, 'bank', 61), { trust: 'compromised', place: { entry: 0 } });
  c('keyCompromised', 'the thief gives himself a receipt', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'agent', 1)]).receipt(0, 'carrier', 2), { trust: 'compromised', place: { entry: 0 } });
}

function links() {
  c('documentMismatch/bundle', 'another document was put in', () => long().set((f) => { f.document.transportDocumentReference = 'TD-2026-8'; }), { place: { entry: 0 } });
  c('documentMismatch/bundle', 'another hash was put in', () => long().set((f) => { f.documentHash = h('a'); }), { place: { entry: 0 } });
  c('badHash/claimed', 'not the hash of what was signed', () => long({ steps: false }).set((f) => { f.chain[2].envelopeHash = h('b'); f.receipts.pop(); }), { place: { entry: 2 } });
  c('badHash/beside', 'beside the signature stands another transferee', () => one().set((f) => { f.chain[0].eblEnvelope = JSON.parse(Buffer.from(f.chain[0].signature.split('.')[1], 'base64url').toString().replace('shipper@', 'thief@')); }), { place: { entry: 0 } });
  c('badLink/first', 'the issuance is missing', () => long({ steps: false }).set((f) => { f.chain.shift(); f.receipts.shift(); }), { place: { entry: 0 } });
  c('badLink/previous', 'an entry is missing', () => long({ steps: false }).set((f) => { f.chain.splice(1, 1); f.receipts.splice(1, 1); }), { place: { entry: 1 } });
  c('badLink/previous', 'two entries in the other order', () => long({ steps: false }).set((f) => { [f.chain[1], f.chain[2]] = [f.chain[2], f.chain[1]]; }), { place: { entry: 1 } });
  c('documentMismatch/entry', 'an entry of another bill', () => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 9)], { payload: { documentHash: h('c') } }), { place: { entry: 1 } });
  c('notAnIssuer/issuer', 'a bank issues', () => new Evidence().seal('bank', [tx('ISSU', 'bank', 'ben', 0)]), { place: { entry: 0 } });
  c('notAnIssuer/carrier', 'the bill of a carrier that is not the platform’s', () => toBen(), { trust: 'other-carrier', place: { entry: 0 } });
  c('documentNeeded', 'whose bill is it? The document is not there', () => toBen().set((f) => delete f.document), { trust: 'this-carrier', place: { entry: 0 } });
}

function law() {
  const at = (entry, transaction) => ({ place: { entry, transaction } });
  c('unlawful/otherPlatform', 'a transaction of the bank in an entry of the carrier', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'bank', 'ben', 1)]), at(0, 1));
  c('unlawful/timeReversed', 'in one entry', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', -1)]), at(0, 1));
  c('unlawful/timeReversed', 'more than five minutes below an earlier entry', () => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 10)]).seal('bank', [tx('TRNS', 'bank', 'tess', 4)]), at(1, 0));
  c('unlawful/timeAhead', 'judged before it was signed', () => long(), { at: '2026-06-01T08:14:59Z', ...at(2, 0) });
  c('unlawful/toOrderChanged', 'not what the document says', () => one({ isToOrder: false }), at(0, 0));
  c('unlawful/notIssued', 'begins with a transfer', () => new Evidence().seal('carrier', [tx('TRNS', 'carrier', 'ben', 0)]), at(0, 0));
  c('unlawful/issuedTwice', 'issued again by the carrier', () => new Evidence().seal('carrier', [issue(), tx('ISSU', 'carrier', 'agent', 1)]), at(0, 1));
  c('unlawful/notInControl', 'the trader moves what the bank has', () => toBen().seal('trade', [tx('TRNS', 'trade', 'tess', 10)]), at(1, 0));
  c('unlawful/samePossessor', 'to whom has it already', () => toBen().seal('bank', [tx('TRNS', 'bank', 'ben', 10)]), at(1, 0));
  c('unlawful/notToTheIssuer', 'surrendered to the trader', () => toBen().seal('bank', [tx('SURR', 'bank', 'tess', 10)]), at(1, 0));
  c('unlawful/returnPending', 'surrendered twice', () => returned('SURR', null).set((f) => f.receipts.pop()).seal('carrier', [tx('AMND', 'carrier', 'agent', 15)]), at(2, 0));
  c('unlawful/notReturnedBy', 'declined to somebody else', () => returned('SURR', null).set((f) => f.receipts.pop()).seal('carrier', [tx('TRNS', 'carrier', 'agent', 15)]), at(2, 0));
  c('unlawful/notInControl', 'in a step: the bank moves what the trader has', () => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 9)]).step('bank', tx('TRNS', 'bank', 'bea', 15)), { place: { step: 0 } });
  c('unlawful/samePossessor', 'in a step', () => toBen().step('bank', tx('TRNS', 'bank', 'ben', 15)), { place: { step: 0 } });
}

function steps() {
  const s = (n) => ({ place: { step: n } });
  const next = (edit, options) => atHome().step('carrier', tx('TRNS', 'carrier', 'shipper', 9, edit), options);
  c('badStep/algorithm', 'the key that kid names is of another type', () => next({}, { by: 'rsa-1', header: { kid: 'carrier-1' } }), s(2));
  c('badStep/value', 'a stranger under the kid of the carrier', () => next({}, { by: 'stranger-1', header: { kid: 'carrier-1' } }), s(2));
  c('badStep/window', 'after the key might sign', () => next({ timestamp: 1780304400001 }), { trust: 'window', ...s(2) });
  c('badStep/revoked', 'after the key was replaced', () => next({ timestamp: 1780304400001 }), { trust: 'revoked', ...s(2) });
  c('badStep/document', 'of another bill', () => next({}, { payload: { documentHash: h('d') } }), s(2));
  c('badStep/head', 'after an entry that is not there', () => next({}, { payload: { head: h('e') } }), s(2));
  c('badStep/index', 'a step is missing before it', () => next({}, { payload: { index: 3 } }), s(2));
  c('badStep/previous', 'not the step before', () => next({}, { payload: { previous: h('f') } }), s(2));
  c('unknownKey/kid', 'of a step', () => next({}, { by: 'stranger-1' }), s(2));
}

function answers() {
  const r = (n) => ({ place: { receipt: n } });
  const rej = { place: { rejection: 0 } };
  const rejected = (code, options, m = 5) => {
    const e = toBen();
    return e.rejection(e.file.chain[0].signature, 'carrier', 'bank', m, code, options);
  };
  c('badReceipt/entry', 'for an envelope that is not in the chain', () => long().receipt(0, 'bank', 3, { payload: h('1') }), r(3));
  c('badReceipt/twice', 'two receipts for one entry', () => long().receipt(1, 'trade', 12), r(3));
  c('badReceipt/algorithm', 'the key that kid names is of another type', () => toBen().receipt(0, 'bank', 2, { by: 'trade-1', header: { kid: 'bank-1' } }), r(0));
  c('badReceipt/value', 'a stranger under the kid of the bank', () => toBen().receipt(0, 'bank', 2, { by: 'stranger-1', header: { kid: 'bank-1' } }), r(0));
  c('badReceipt/window', 'after the key might sign', () => toBen().receipt(0, 'bank', 61), { trust: 'bank-window', ...r(0) });
  c('badReceipt/revoked', 'after the key was replaced', () => toBen().receipt(0, 'bank', 61), { trust: 'bank-revoked', ...r(0) });
  c('badReceipt/time', 'older than the entry', () => toBen().receipt(0, 'bank', -5), r(0));
  c('badRejection/entry', 'of an envelope that is not in the file', () => rejected('BENV', { payload: { envelopeHash: h('2') } }), rej);
  c('badRejection/bytes', 'of another JWS with the same payload', () => rejected('BENV', { payload: { jwsSha256: h('3') } }), rej);
  c('badRejection/parties', 'somebody else sent it', () => rejected('BENV', { payload: { sender: 'trade.example' } }), rej);
  c('badRejection/parties', 'somebody else refused it', () => rejected('BENV', { payload: { receiver: 'trade.example' } }), rej);
  c('badRejection/algorithm', 'the key that kid names is of another type', () => rejected('BENV', { by: 'trade-1', header: { kid: 'bank-1' } }), rej);
  c('badRejection/value', 'a stranger under the kid of the bank', () => rejected('BENV', { by: 'stranger-1', header: { kid: 'bank-1' } }), rej);
  c('badRejection/window', 'after the key might sign', () => rejected('BENV', {}, 61), { trust: 'bank-window', ...rej });
  c('badRejection/revoked', 'after the key was replaced', () => rejected('BENV', {}, 61), { trust: 'bank-revoked', ...rej });
  c('rejectedEntry', 'the addressee said no: control never passed', () => rejected('BENV'), rej);
  c('rejectedEntry', 'a bad signature, said the addressee', () => rejected('BSIG'), rej);
  c('contradicted', 'a receipt and a rejection of one envelope', () => rejected('BENV').receipt(0, 'bank', 2), rej);
  c('contradicted', 'rejected, and signed on after', () => rejected('BENV').seal('bank', [tx('TRNS', 'bank', 'tess', 9)]), rej);
  c('disputed', 'the addressee knows another chain', () => rejected('DISE'), rej);
}

function verdicts() {
  const v = { place: {} };
  const said = (kind, m, options) => returned('SURR', null).verdict(kind, m, options);
  c('badVerdict/algorithm', 'the key that kid names is of another type', () => said('surrendered', 20, { by: 'rsa-1', header: { kid: 'carrier-1' } }), v);
  c('badVerdict/value', 'a stranger under the kid of the carrier', () => said('surrendered', 20, { by: 'stranger-1', header: { kid: 'carrier-1' } }), v);
  c('badVerdict/window', 'after the key might sign', () => said('surrendered', 61), { trust: 'window', ...v });
  c('badVerdict/revoked', 'after the key was replaced', () => said('surrendered', 61), { trust: 'revoked', ...v });
  c('badVerdict/time', 'after the time of judging', () => said('surrendered', 300), v);
  c('badVerdict/time', 'before the bill was returned', () => said('surrendered', 4), v);
  c('unknownKey/kid', 'of a verdict', () => said('surrendered', 20, { by: 'stranger-1' }), v);
  c('unlawful/nothingToHonour', 'nobody returned it', () => toBen().verdict('surrendered', 20), v);
  c('unlawful/verdictUnfitting', 'surrendered, but on paper', () => said('paper', 20), v);
  c('unlawful/verdictUnfitting', 'amended, and by nothing', () => returned('AMND', null).verdict('amended', 20), v);
}

function branches() {
  const b = { place: { branch: 0 } };
  const other = (options, at = 1) => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 10)]).branch(at, [['bank', [tx('TRNS', 'bank', 'agent', 11)], options]]);
  c('badBranch/link', 'follows nothing of the chain', () => other({ payload: { previousEnvelopeHash: h('4') } }), b);
  c('badBranch/link', 'past the end', () => other({}).set((f) => { f.branches[0].at = 9; }), b);
  c('badBranch/same', 'no other continuation', () => toBen().seal('bank', [tx('TRNS', 'bank', 'tess', 10)]).branch(1, [['bank', [tx('TRNS', 'bank', 'tess', 10)]]]), b);
  c('badBranch/document', 'of another bill', () => other({ payload: { documentHash: h('5') } }), b);
  c('badBranch/algorithm', 'the key that kid names is of another type', () => other({ by: 'trade-1', header: { kid: 'bank-1' } }), b);
  c('badBranch/value', 'a stranger under the kid of the bank', () => other({ by: 'stranger-1', header: { kid: 'bank-1' } }), b);
  c('badBranch/window', 'after the key might sign', () => toBen().seal('bank', [tx('TRNS', 'bank', 'shipper', 10)]).branch(1, [['bank', [tx('TRNS', 'bank', 'agent', 61)]]]), { trust: 'bank-window', ...b });
  c('badBranch/revoked', 'after the key was replaced', () => toBen().seal('bank', [tx('TRNS', 'bank', 'shipper', 10)]).branch(1, [['bank', [tx('TRNS', 'bank', 'agent', 61)]]]), { trust: 'bank-revoked', ...b });
  c('forked/signedTwice', 'the bank gave one bill to two', () => other({}), b);
  c('forked/signedTwice', 'the carrier issued one document twice', () => toBen().branch(0, [['carrier', [tx('ISSU', 'carrier', 'agent', 3)]]]), b);
  c('forked/continued', 'the bank gave it away after the last entry here, and nobody rejected that', () => toBen().receipt(0, 'bank', 2).branch(1, [['bank', [tx('TRNS', 'bank', 'tess', 10)]]]), b);
  c('forked/rejectedAndContinued', 'the trader rejected it, and gave it away', () => {
    const e = toBen().branch(1, [['bank', [tx('TRNS', 'bank', 'tess', 10)]], ['trade', [tx('TRNS', 'trade', 'shipper', 20)]]]);
    return e.rejection(e.file.branches[0].entries[0], 'bank', 'trade', 11, 'BENV').seal('bank', [tx('TRNS', 'bank', 'agent', 12)]);
  }, b);
}

// authorities: the carrier's key comes with the message, and counts if it leads to an anchor.
function authorities() {
  const at = (entry) => ({ trust: 'ca', place: { entry } });
  const by = (certificates) => ({ by: 'ca-leaf', header: { kid: 'ca-leaf', x5c: certificates } });
  const issued = (certificates) => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 1)], by(certificates));
  const [leaf, between] = x5c('one-between');
  c('VALID', 'a key that an authority vouches for', () => issued([leaf, between]).receipt(0, 'bank', 2), { trust: 'ca' });
  c('VALID', 'the authority between stands in the file, and not in the header', () => looked(issued([leaf]), [between]), { trust: 'ca' });
  c('unknownKey/anchor', 'the authority between stands in the file, and no check says that it belongs to this signature', () => issued([leaf]).set((f) => f.certificates.push(between)), at(0));
  c('VALID AT SIGNING TIME', 'ten years later: the certificate has ended', () => issued([leaf, between]), { trust: 'ca', at: '2036-06-01T12:00:00Z' });
  c('unknownKey/anchor', 'the authority between is nowhere', () => issued([leaf]), at(0));
  c('unknownKey/anchor', 'somebody else’s authority', () => issued(x5c('refuse-strangers')).seal('bank', [tx('TRNS', 'bank', 'agent', 5)]), at(0));
  c('badSignature/certificate', 'a certificate for TLS servers', () => issued(x5c('refuse-usage-server')), at(0));
  c('badSignature/certificate', 'the certificate of another platform', () => issued(x5c('refuse-other-name')), at(0));
  c('badChainSignature/certificate', 'ended before the bill was issued', () => issued(x5c('refuse-expired')).seal('bank', [tx('TRNS', 'bank', 'agent', 5)]), at(0));
  c('badStep/certificate', 'of a step', () => new Evidence().step('carrier', issue(), by(x5c('refuse-key-usage'))), { trust: 'ca', place: { step: 0 } });
  c('badVerdict/certificate', 'of a verdict', () => issued([leaf, between]).seal('bank', [tx('SURR', 'bank', 'shipper', 10)]).verdict('surrendered', 20, by(x5c('refuse-732-days'))), { trust: 'ca', place: {} });
  c('badRejection/certificate', 'of a rejection', () => {
    const e = issued([leaf, between]).seal('bank', [tx('TRNS', 'bank', 'shipper', 10)]);
    return e.rejection(e.file.chain[1].signature, 'bank', 'carrier', 11, 'BENV', by(x5c('refuse-expired')));
  }, { trust: 'ca', place: { rejection: 0 } });
  c('badBranch/certificate', 'of a branch', () => issued([leaf, between]).branch(0, [['carrier', [tx('ISSU', 'carrier', 'agent', 3)], by(x5c('refuse-name-excluded'))]]), { trust: 'ca', place: { branch: 0 } });
  c('badReceipt/certificate', 'of a receipt', () => issued([leaf, between]).seal('bank', [tx('TRNS', 'bank', 'shipper', 10)]).receipt(1, 'carrier', 11, by(x5c('refuse-critical'))), { trust: 'ca', place: { receipt: 0 } });
}

// answersOfResponders: what the maker was told of the certificate, and kept.
function answersOfResponders() {
  const { leaf } = answered('issuer');
  const by = { by: 'ocsp-leaf', header: { kid: 'ocsp-leaf', x5c: [leaf] } };
  // asked adds that the maker looked, so many minutes after the start, at these answers, when it believed that JWS.
  const asked = (e, text, m, ...names) => e.set((f) => {
    const list = names.map((name) => answered(name).answer);
    f.ocsp.push(...list.filter((a) => !f.ocsp.includes(a)));
    f.checks.push({ jws: sha256(text), at: iso(m), platform: 'carrier.example', key: h('0'), certificates: [], ocsp: list.map((a) => sha256(Buffer.from(a, 'base64'))) });
  });
  const issued = (m = 1) => new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', m)], by);
  const looked = (e, m, ...names) => asked(e, e.file.chain[0].signature, m, ...names);
  const ocsp = (place) => ({ trust: 'ocsp', place });
  c('VALID', 'the responder said good', () => looked(issued(), 31, 'issuer'), { trust: 'ocsp' });
  c('VALID', 'a pinned key whose certificate names a responder: it said good', () => looked(new Evidence().seal('carrier', [issue(), tx('TRNS', 'carrier', 'ben', 1)], { by: 'ocsp-leaf' }), 31, 'delegate'), { trust: 'ocsp-pinned' });
  c('VALID', 'two answers, one of which does not count', () => looked(issued(), 31, 'refuse-stranger', 'issuer'), { trust: 'ocsp' });
  c('VALID AT SIGNING TIME', 'the certificate was replaced later', () => looked(issued(), 31, 'revoked-superseded'), { trust: 'ocsp' });
  c('VALID AT SIGNING TIME', 'the key was stolen later; the bank’s receipt shows that the entry is older', () => looked(issued().receipt(0, 'bank', 3), 31, 'revoked-stolen'), { trust: 'ocsp' });
  c('revocationUnknown', 'nobody was asked', () => issued(), ocsp({ entry: 0 }));
  c('revocationUnknown', 'the answer is there, and no check says that it belongs to this signature', () => asked(issued(), 'a.b.c', 31, 'issuer'), ocsp({ entry: 0 }));
  c('revocationUnknown', 'somebody else’s answer', () => looked(issued(), 31, 'refuse-stranger'), ocsp({ entry: 0 }));
  c('revocationUnknown', 'asked before it was signed', () => looked(issued(60), 31, 'issuer'), ocsp({ entry: 0 }));
  c('revocationUnknown', 'a pinned key, and nobody was asked', () => new Evidence().step('carrier', issue(), { by: 'ocsp-leaf' }), { trust: 'ocsp-pinned', place: { step: 0 } });
  c('badSignature/revoked', 'the responder said that it was revoked before', () => looked(issued(20), 31, 'revoked-superseded'), ocsp({ entry: 0 }));
  c('badSignature/revoked', 'an older answer that said good beside it changes nothing', () => looked(issued(20), 31, 'issuer', 'revoked-superseded'), ocsp({ entry: 0 }));
  c('badChainSignature/revoked', 'the responder said that it was revoked before', () => looked(issued().seal('bank', [tx('TRNS', 'bank', 'agent', 5)]), 31, 'revoked-at-the-beginning'), ocsp({ entry: 0 }));
  c('keyCompromised', 'the responder said that the key was stolen, later, and nothing shows that the entry is older', () => looked(issued(), 31, 'revoked-stolen'), ocsp({ entry: 0 }));
  const second = (m) => looked(issued(), 31, 'issuer').seal('bank', [tx('SURR', 'bank', 'shipper', m)]);
  c('badReceipt/revoked', 'of a receipt, by the responder', () => {
    const e = second(19).receipt(1, 'carrier', 21, by);
    return asked(e, e.file.receipts[0], 31, 'revoked-superseded');
  }, ocsp({ receipt: 0 }));
  c('badVerdict/revoked', 'of a verdict, by the responder', () => {
    const e = second(19).verdict('surrendered', 21, by);
    return asked(e, e.file.verdict, 31, 'revoked-superseded');
  }, ocsp({}));
  c('VALID', 'a receipt about whose certificate nobody was asked is not judged', () => second(19).receipt(1, 'carrier', 21, by), { trust: 'ocsp' });
}

// Where two readers once differed. At the end, so that the others keep their names.
function differences() {
  const zeros = h('0');
  c('malformed/time', 'an hour of one digit', () => long().set((f) => { f.made.at = '2026-06-01T9:00:00Z'; }).text({ sign: false }));
  c('malformed/time', 'a comma before the fraction', () => looked(toBen(), []).set((f) => { f.checks[0].at = '2026-06-01T09:00:00,5Z'; }));
  c('malformed/limit', '65 certificates in one check', () => looked(toBen(), []).set((f) => { f.checks[0].certificates = Array(65).fill(h('1')); }));
  c('malformed/hash', '64 zeros for the bill that replaces none', () => returned('SURR', null).verdict('surrendered', 20, { payload: { replacedBy: zeros } }));
  c('malformed/hash', '64 zeros for the entry before the first step', () => new Evidence().step('carrier', issue(), { payload: { head: zeros } }));
  c('forked/signedTwice', 'a rejection of the signature (BSIG) is of these bytes alone: the same envelope under another was not rejected', () => {
    const again = (header) => [['bank', [tx('TRNS', 'bank', 'tess', 10)], { header }]];
    const e = toBen().branch(1, again()).branch(1, again({ typ: 'again' }));
    return e.rejection(e.file.branches[0].entries[0], 'bank', 'trade', 11, 'BSIG').seal('bank', [tx('TRNS', 'bank', 'agent', 12)]);
  }, { place: { branch: 1 } });
  c('documentMismatch/bundle', '64 zeros are a hash too, and not that of the document', () => long().set((f) => { f.documentHash = zeros; }), { place: { entry: 0 } });
}

for (const family of [good, authorities, shape, signatures, links, law, steps, answers, verdicts, branches, answersOfResponders, differences]) family();
